"""Frozen shapes of the service."""
