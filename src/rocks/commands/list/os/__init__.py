"""Commands that list what belongs to an operating system."""
