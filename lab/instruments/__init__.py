"""Instruments of storage tests: a counting guest, a writer with a model of its writes, a verifier of disks."""
