"""What stages and sweeps wrote, read back: one row a model, the sweep, and where each file came from."""
