"""ZFS in memory, held to the real one by the cases in `tests/contract/devices`."""
