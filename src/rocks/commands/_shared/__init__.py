"""Bases and helpers that several commands share: families of setters, attributes, image storage, hooks."""
