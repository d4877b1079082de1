"""Names that are promised to other rolls; what actions do is in the rooms."""
