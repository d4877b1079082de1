"""Commands that bring machines into line with the database."""
