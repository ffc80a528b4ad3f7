"""Rockchip's NPUs: compilation by rknn-toolkit2 in a toolchain of its own, its reports, its simulator as a runtime."""
