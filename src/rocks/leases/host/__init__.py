"""Leases as a host stores them: tokens and the epoch. Python 3.9."""
