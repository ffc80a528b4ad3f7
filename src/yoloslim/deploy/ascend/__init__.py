"""Huawei Ascend: AIPP, the ATC compiler, and evaluation on the device or its CPU stand-in."""
