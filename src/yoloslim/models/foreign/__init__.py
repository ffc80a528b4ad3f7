"""Weights of other programs: public YOLOv5 checkpoints, state dicts, Darknet files."""
