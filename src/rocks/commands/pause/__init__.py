"""Commands that pause."""
