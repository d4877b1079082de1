"""Commands that start."""
