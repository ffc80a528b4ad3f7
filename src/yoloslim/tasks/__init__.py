"""The three tasks of a finished model, on any runtime: detect, speed, eval."""
