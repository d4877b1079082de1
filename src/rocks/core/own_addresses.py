"""The network devices of this machine and their addresses."""

from __future__ import annotations

import json

from rocks.core import dry_run
from rocks.core.process import run_checked

_IP_SECONDS = 10.0


def device_states(address: str) -> dict[str, bool]:
    """Name of each device of this machine with the IPv4 address → whether it is up. ToolError when ip(8) fails."""
    with dry_run.reading():
        listed = run_checked(["ip", "-json", "-4", "address", "show"], deadline_seconds=_IP_SECONDS)
    found = json.loads(listed.text)
    return {
        str(link["ifname"]): "UP" in link.get("flags", ())
        for link in found
        if any(one.get("local") == address for one in link.get("addr_info", ()))
    }
