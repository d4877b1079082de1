"""Computesets: a pure state machine, and the controller that gives it events and performs its actions."""
