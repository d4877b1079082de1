"""Commands that remove what belongs to the InfiniBand fabric."""
