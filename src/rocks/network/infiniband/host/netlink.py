"""GUIDs and link state of a VF by netlink (IFLA_VFINFO_LIST of linux/if_link.h)."""

from __future__ import annotations

from typing import Any, Dict

from rocks.core.errors import StateError, ToolError
from rocks.network.host.netlink import IPRoute, NetlinkError


def set_link_vf(link: str, number: int, values: Dict[str, object]) -> None:
    """Set `ib_node_guid`, `ib_port_guid`, `link_state` (0: as the port, 2: down) of VF `number` of the device `link`.

    StateError when the adapter has no network device, ToolError with the kernel's error.
    """
    if not link:
        raise StateError(
            "the InfiniBand adapter of this host has no network device: load its module ib_ipoib"
        )
    try:
        with IPRoute() as route:
            found = route.link_lookup(ifname=link)
            if not found:
                raise StateError(f"this host has no network device {link}")
            route.link("set", index=found[0], vf=_function(number, values))
    except NetlinkError as error:
        reason = error.args[1] if len(error.args) > 1 else str(error)
        raise ToolError(
            f"the kernel of this host did not set virtual function {number} of {link}: {reason}"
        ) from None


def _function(number: int, values: Dict[str, object]) -> Dict[str, Any]:
    return {"vf": number, **values}
