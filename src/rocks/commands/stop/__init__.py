"""Commands that stop."""
