"""Commands that set what belongs to an operating system."""
