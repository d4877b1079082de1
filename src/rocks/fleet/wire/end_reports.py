"""How a host reports to the frontend which machines have ended: one name a line, by HTTPS."""

from __future__ import annotations

ENDED_PATH = "/install/host/ended"
MAX_NAMES = 50
"""Machines in one request, whose names then fit into the body that the frontend reads."""
