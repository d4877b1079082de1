"""Builds and installs rolls. Filled when rolls are made."""
