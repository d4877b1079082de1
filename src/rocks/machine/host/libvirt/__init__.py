"""Domains on this host: facts, start, stop, pause; whether KVM works. Only `domains.py` imports libvirt."""
