"""Commands that resume."""
