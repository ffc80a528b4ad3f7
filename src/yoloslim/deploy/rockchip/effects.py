"""What the Rockchip twin predicts, by name: a file of its own, so that a report need not load a runtime to read it."""

TITLES = {"weights": "weights in 8 bits", "activations": "activations in 8 bits", "board": "all together"}
"""Effects, and what people call them; fp16 has the last alone."""
