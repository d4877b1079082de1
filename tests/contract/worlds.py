"""The worlds of the cases whose real devices only the lab's machines have: parameters of their fixtures `world`."""

import os

WORLDS = ("fake", "real") if os.environ.get("ROCKS_REAL_DEVICES") == "yes" else ("fake",)
"""In memory; and on the real devices, where `tests/lab/device_contracts.py` says so."""
