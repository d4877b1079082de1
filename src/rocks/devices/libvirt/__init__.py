"""Domains on this host: facts, start, stop, pause; whether KVM works. `domains.py` alone imports libvirt."""
