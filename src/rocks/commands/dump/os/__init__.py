"""Commands that dump what belongs to an operating system."""
