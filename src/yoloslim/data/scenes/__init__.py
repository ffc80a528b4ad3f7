"""The generated data set: the 20 VOC classes drawn with shapes, on backgrounds made of noise and shapes."""

from yoloslim.data.scenes.compose import render_scene

__all__ = ["render_scene"]
