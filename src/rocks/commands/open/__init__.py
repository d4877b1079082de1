"""Commands that open."""
