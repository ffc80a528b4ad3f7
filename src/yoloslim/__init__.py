"""yoloslim: from images and boxes to the smallest YOLO that still finds what matters."""

__version__ = "0.1.0"
