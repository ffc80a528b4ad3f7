"""What to remove from a network, and how to remove it exactly."""
