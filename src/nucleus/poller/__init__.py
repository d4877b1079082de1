"""Fills the mirror with what `rocks` lists."""
