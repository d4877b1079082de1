"""Rolls as files: their description, their manifest of checksums, their ISO, their packages, and distributions of them.

A roll on an ISO and in the distribution is the folder NAME/VERSION/ARCH. `rolls.py` records it in the database.
"""
