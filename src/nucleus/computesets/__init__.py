"""Computesets: a pure state machine, and the driver that gives it events and performs its actions."""
