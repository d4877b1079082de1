"""Packet filters on guest interfaces: programs in classic BPF, attached by netlink."""
