"""The way in by a signed request of a virtual cluster's owner. Filled with the remote control service."""
