"""`rocks load dump`: which lines of another frontend's dump are taken over, and as which commands."""
