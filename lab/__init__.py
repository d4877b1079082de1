"""Machines for demo and tests, and the strategies that bring them to a state.

Today: a whole site inside a mount namespace of this machine.
"""
