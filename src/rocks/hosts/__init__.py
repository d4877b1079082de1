"""Connections to physical hosts: many at once, by SSH, or to this machine."""
