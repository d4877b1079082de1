"""Commands that synchronise what belongs to the InfiniBand fabric."""
