"""Twins of the device modules, held to the real ones by the contract tests."""
