"""Commands that bring hosts into line with the database."""
