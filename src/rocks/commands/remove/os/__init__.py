"""Commands that remove what belongs to an operating system."""
