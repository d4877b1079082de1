"""Reservations of sites for virtual clusters of PRAGMA: who has which CPUs and memory, and when."""
