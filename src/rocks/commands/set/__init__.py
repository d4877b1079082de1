"""Commands that set."""
