"""Commands that add what belongs to the InfiniBand fabric."""
