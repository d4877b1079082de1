"""The network devices of this machine and their addresses."""

from __future__ import annotations

import json

from rocks.core import dry_run
from rocks.core.process import run_checked

_IP_SECONDS = 10.0


def devices_with(address: str) -> list[str]:
    """The names of this machine's devices that have the IPv4 address. ToolError when ip(8) fails."""
    with dry_run.question():
        listed = run_checked(["ip", "-json", "-4", "address", "show"], deadline_seconds=_IP_SECONDS)
    found = json.loads(listed.text)
    return [
        str(link["ifname"])
        for link in found
        for one in link.get("addr_info", ())
        if one.get("local") == address
    ]
