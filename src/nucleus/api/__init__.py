"""REST paths, one module per noun."""
