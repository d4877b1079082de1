"""`rocks dump`: which lines there are, and which lines of another frontend are taken over."""
