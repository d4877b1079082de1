"""Commands that set what belongs to a host."""
