"""The remote control of owners: their machines, consoles and media, by their keys."""
