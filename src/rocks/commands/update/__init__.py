"""Commands that bring something to the newest version."""
