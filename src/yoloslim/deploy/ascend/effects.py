"""What the twin predicts, by name: a file of its own, so that a report need not load a runtime to read it."""

TITLES = {
    "colour": "AIPP colour",
    "top_left": "top-left padding",
    "green_fill": "green fill",
    "resize": "resize",
    "fp16": "fp16",
    "single_label": "single label",
    "board": "all together",
}
"""Effects, and what people call them."""
