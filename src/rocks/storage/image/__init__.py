"""The life of an image as data and pure functions: no I/O, no clock.

docs/image-storage-internals.md follows one event through the code.
"""
