"""From raw head outputs to detections, metrics and speed: written once, above every runtime."""
