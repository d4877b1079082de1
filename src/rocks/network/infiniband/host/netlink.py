"""GUIDs and link state of a VF by netlink (IFLA_VFINFO_LIST of linux/if_link.h)."""

from __future__ import annotations

from typing import Dict

from rocks.core.errors import StateError
from rocks.network.host.netlink import netlink


def set_link_vf(link: str, number: int, values: Dict[str, object]) -> None:
    """Set `ib_node_guid`, `ib_port_guid`, `link_state` (0: as the port, 2: down) of VF `number` of the device `link`.

    StateError when the adapter has no network device, ToolError with the kernel's error.
    """
    if not link:
        raise StateError(
            "the InfiniBand adapter of this host has no network device: load its module ib_ipoib"
        )
    with netlink(f"set virtual function {number} of {link}") as route:
        found = route.link_lookup(ifname=link)
        if not found:
            raise StateError(f"this host has no network device {link}")
        route.link("set", index=found[0], vf={"vf": number, **values})
