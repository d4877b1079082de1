"""Commands that list what belongs to the InfiniBand fabric."""
