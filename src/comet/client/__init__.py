"""HTTP calls of the service."""
