"""Leases: at most one instance of a machine runs (decisions 3 and 31)."""
