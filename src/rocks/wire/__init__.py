"""Shapes that cross a machine border: facts, agent calls, image-storage messages. No input or output."""
