"""Commands that add."""
