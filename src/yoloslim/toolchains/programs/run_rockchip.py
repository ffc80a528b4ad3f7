"""Runs inside the toolchain `rockchip`."""
