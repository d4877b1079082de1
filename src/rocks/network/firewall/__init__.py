"""Firewall rules of hosts: stored, rendered for nft, and brought there."""
