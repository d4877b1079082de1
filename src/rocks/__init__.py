"""The system by which a site gives its users whole virtual clusters."""

__version__ = "0.1.1"
