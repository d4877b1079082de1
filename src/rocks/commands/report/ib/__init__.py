"""Commands that report what belongs to the InfiniBand fabric."""
