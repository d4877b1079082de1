"""Single-use tickets to consoles."""
