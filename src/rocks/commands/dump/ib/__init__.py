"""Commands that print how what belongs to the InfiniBand fabric was made."""
