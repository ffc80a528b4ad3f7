"""What produces the figures that the README and docs claim; run as modules from the project's folder."""
