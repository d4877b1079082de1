"""Network devices below guests, created, compared and removed by netlink.

A device created here has the alias `rocks:<vlan>`; only such devices are removed. The host does not take part in the
network of a virtual cluster: no ARP and no IPv6 on these devices.

`tests/fakes` implements the same Protocol in memory. Importing pyroute2 takes 0.15 s, so this module is imported late.
"""

from __future__ import annotations

import errno
import time
from pathlib import Path
from typing import Any, Container, Dict, List, Optional, Tuple

from rocks.fleet.host.change import CHANGED, UNCHANGED, Change
from rocks.fleet.wire.requests import ISOLATION_SYSCTLS, LinkSpec
from rocks.network.host.netlink import (
    IFF_NOARP,
    IFF_UP,
    IPRoute,
    NetlinkDumpInterrupted,
    NetlinkError,
    netlink,
)
from rocks.network.host.rules import (
    Link,
    alias_of,
    check_link,
    check_parent,
    check_same_device,
    check_site_device,
    check_vlan_free,
    is_of_site,
    is_ours,
    is_used,
    no_vlans,
)

_LISTING_SECONDS = 10.0


class Links:
    """The network devices of this process' network namespace. What is not documented here is in `LinkDriver`."""

    def ensure(self, spec: LinkSpec) -> Change:
        check_link(spec)
        with netlink(f"make the network device {spec.device}") as route:
            links = {link.name: link for link in _read_links(route)}
            if is_of_site(spec):
                check_site_device(spec, links)
                return UNCHANGED
            parent = check_parent(spec, links)
            check_vlan_free(spec, links, parent)
            existing = links.get(spec.device)
            if existing is None:
                _create(route, spec, parent)
                existing = _read_links(route, spec.device)[0]
            check_same_device(spec, existing, parent)
            return _configure(route, spec, existing)

    def remove_if_unused(self, spec: LinkSpec) -> Change:
        check_link(spec)
        with netlink(f"remove the network device {spec.device}") as route:
            links = _read_links(route)
            existing = next((link for link in links if link.name == spec.device), None)
            if existing is None or existing.alias != alias_of(spec) or is_used(existing, links):
                return UNCHANGED
            route.link("del", index=existing.number)
            return CHANGED

    def remove_all_but(self, devices: Container[str]) -> Tuple[str, ...]:
        with netlink("remove network devices") as route:
            links = _read_links(route)
            surplus = [link for link in links if is_ours(link) and link.name not in devices]
            removed = [link for link in surplus if not is_used(link, links)]
            for link in removed:
                route.link("del", index=link.number)
        return tuple(link.name for link in removed)

    def list(self) -> Tuple[Link, ...]:
        with netlink("list its network devices") as route:
            return tuple(_read_links(route))

    def has_8021q(self) -> bool:
        """As `LinkDriver.has_8021q`.

        Probed by a request for a VLAN device without a parent: without 802.1Q the kernel reports EOPNOTSUPP, with it
        that the parent is missing. No device is created.
        """
        with IPRoute() as route:
            try:
                route.link("add", ifname="rocks-probe", kind="vlan", vlan_id=1)
            except NetlinkError as error:
                return bool(error.code != errno.EOPNOTSUPP)
        return True


def parse_link(message: Any) -> Link:
    """A device from its netlink message."""
    information = message.get_attr("IFLA_LINKINFO")
    kind = information.get_attr("IFLA_INFO_KIND") if information else None
    details = information.get_attr("IFLA_INFO_DATA") if kind == "vlan" else None
    statistics = message.get_attr("IFLA_STATS64") or {}
    return Link(
        number=message["index"],
        name=message.get_attr("IFLA_IFNAME"),
        kind=kind or "",
        parent=message.get_attr("IFLA_LINK"),
        master=message.get_attr("IFLA_MASTER"),
        vlan=details.get_attr("IFLA_VLAN_ID") if details else None,
        mtu=message.get_attr("IFLA_MTU"),
        is_up=bool(message["flags"] & IFF_UP),
        alias=message.get_attr("IFLA_IFALIAS") or "",
        has_carrier=bool(message.get_attr("IFLA_CARRIER")),
        received_bytes=statistics.get("rx_bytes", 0),
        sent_bytes=statistics.get("tx_bytes", 0),
    )


def _read_links(route: Any, name: Optional[str] = None) -> List[Link]:
    """One device, or all; repeated for some seconds while the kernel reports that a change interrupted the dump."""
    if name is not None:
        return [parse_link(message) for message in route.link("get", ifname=name)]
    end_at = time.monotonic() + _LISTING_SECONDS
    while True:
        try:
            return [parse_link(message) for message in route.get_links()]
        except NetlinkDumpInterrupted:
            if time.monotonic() > end_at:
                raise


def _create(route: Any, spec: LinkSpec, parent: Optional[Link]) -> None:
    details: Dict[str, Any]
    if parent is not None:
        details = {"kind": "vlan", "link": parent.number, "vlan_id": spec.vlan}
    else:
        details = {"kind": "bridge", "br_stp_state": 0, "br_forward_delay": 0}
    try:
        route.link("add", ifname=spec.device, **details)
    except NetlinkError as error:
        if error.code == errno.EOPNOTSUPP:
            raise no_vlans(spec, Links().has_8021q()) from None
        if error.code != errno.EEXIST:
            raise
        # created concurrently, with this name or this VLAN; the caller compares it
        check_vlan_free(spec, {link.name: link for link in _read_links(route)}, parent)


def _configure(route: Any, spec: LinkSpec, existing: Link) -> Change:
    """Set alias, MTU, sysctls and state where they differ."""
    changes: Dict[str, Any] = {}
    if spec.mtu is not None and existing.mtu != spec.mtu:
        changes["mtu"] = spec.mtu
    if not existing.is_up:
        _isolate_host(spec.device)
        changes.update(state="up", flags=IFF_NOARP | IFF_UP, change=IFF_NOARP | IFF_UP)
        if not existing.alias:
            changes["ifalias"] = alias_of(spec)
    if not changes:
        return UNCHANGED
    route.link("set", index=existing.number, **changes)
    return CHANGED


def _isolate_host(device: str) -> None:
    """Set sysctls so that the host does not receive frames that guests send to its MAC address.

    No route uses the device, so strict reverse path filtering (RFC 3704) drops every IPv4 packet received on it.
    """
    for family, switch, value in ISOLATION_SYSCTLS:
        path = Path("/proc/sys/net") / family / "conf" / device / switch
        if path.exists():
            path.write_text(value, "ascii")
