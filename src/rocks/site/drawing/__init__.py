"""A drawing of the site."""
