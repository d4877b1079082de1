"""Commands that add what belongs to an operating system."""
