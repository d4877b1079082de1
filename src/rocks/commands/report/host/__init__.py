"""Commands that report what belongs to a host."""
