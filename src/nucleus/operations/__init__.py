"""Durable jobs that writes of the REST interface become."""
