"""Darknet's two files: the network as `.cfg`, its floats as `.weights`. Both ways."""
