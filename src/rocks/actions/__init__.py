"""Names that are promised to other rolls."""
