"""Blocks, architectures as YAML, the Detector and its one-file store."""
