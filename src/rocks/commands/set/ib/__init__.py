"""Commands that change what belongs to the InfiniBand fabric."""
