"""The one door to netlink: network devices that guests hang on, made, compared and removed.

A device made here carries the alias `rocks:<vlan>`, and only such a one is ever removed. The host itself takes no part
in the network of a virtual cluster: no ARP and no IPv6 on these devices.

`fake/links.py` is the twin. Importing the library takes 0.07 s, so this module is imported where it is needed.
"""

from __future__ import annotations

import errno
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Container, Dict, Iterator, List, Optional, Tuple

from rocks.devices.change import CHANGED, UNCHANGED, Change
from rocks.devices.network.netlink import IFF_NOARP, IFF_UP, IPRoute, NetlinkDumpInterrupted, NetlinkError
from rocks.devices.network.rules import (
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
from rocks.errors import ToolError
from rocks.wire.agent import LinkSpec

_MAX_LISTINGS = 20
_SILENT = (
    ("ipv6", "disable_ipv6", "1"),
    ("ipv4", "rp_filter", "1"),
    ("ipv4", "forwarding", "0"),
    ("ipv4", "arp_ignore", "8"),
    ("ipv4", "drop_unicast_in_l2_multicast", "1"),
)


class Links:
    """The network devices of the network namespace that this process is in."""

    def ensure(self, spec: LinkSpec) -> Change:
        """As `LinkDriver.ensure`."""
        check_link(spec)
        with _netlink(f"make the network device {spec.device}") as route:
            links = {link.name: link for link in _read_links(route)}
            if is_of_site(spec):
                check_site_device(spec, links)
                return UNCHANGED
            parent = check_parent(spec, links)
            check_vlan_free(spec, links, parent)
            existing = links.get(spec.device)
            if existing is None:
                _make(route, spec, parent)
                existing = _read_links(route, spec.device)[0]
                check_same_device(spec, existing, parent)
                _finish(route, spec, existing)
                return CHANGED
            check_same_device(spec, existing, parent)
            return _finish(route, spec, existing)

    def remove_if_unused(self, spec: LinkSpec) -> Change:
        """As `LinkDriver.remove_if_unused`."""
        check_link(spec)
        with _netlink(f"remove the network device {spec.device}") as route:
            links = _read_links(route)
            existing = next((link for link in links if link.name == spec.device), None)
            if existing is None or existing.alias != alias_of(spec) or is_used(existing, links):
                return UNCHANGED
            route.link("del", index=existing.number)
            return CHANGED

    def remove_all_but(self, devices: Container[str]) -> Tuple[str, ...]:
        """As `LinkDriver.remove_all_but`."""
        with _netlink("remove network devices") as route:
            links = _read_links(route)
            surplus = [link for link in links if is_ours(link) and link.name not in devices]
            removed = [link for link in surplus if not is_used(link, links)]
            for link in removed:
                route.link("del", index=link.number)
        return tuple(link.name for link in removed)

    def list(self) -> Tuple[Link, ...]:
        """As `LinkDriver.list`."""
        with _netlink("list its network devices") as route:
            return tuple(_read_links(route))

    def has_8021q(self) -> bool:
        """As `LinkDriver.has_8021q`.

        It is asked for one without a parent: without 802.1Q it says that it knows no such kind, with it that the
        parent is missing. Either way nothing is made.
        """
        with IPRoute() as route:
            try:
                route.link("add", ifname="rocks-probe", kind="vlan", vlan_id=1)
            except NetlinkError as error:
                return bool(error.code != errno.EOPNOTSUPP)
        return True


def parse_link(message: Any) -> Link:
    """A device from netlink's message."""
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
    """One device, or all; asked again when the kernel says that they changed while it was listing them."""
    if name is not None:
        return [parse_link(message) for message in route.link("get", ifname=name)]
    for _ in range(_MAX_LISTINGS - 1):
        try:
            return [parse_link(message) for message in route.get_links()]
        except NetlinkDumpInterrupted:
            continue
    return [parse_link(message) for message in route.get_links()]


def _make(route: Any, spec: LinkSpec, parent: Optional[Link]) -> None:
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
        # somebody made it just now, by this name or with this VLAN; what it is will be compared
        check_vlan_free(spec, {link.name: link for link in _read_links(route)}, parent)


def _finish(route: Any, spec: LinkSpec, existing: Link) -> Change:
    """Alias, MTU, silence and up, as far as they are not so."""
    changes: Dict[str, Any] = {}
    if spec.mtu is not None and existing.mtu != spec.mtu:
        changes["mtu"] = spec.mtu
    if not existing.is_up:
        _silence(spec.device)
        changes.update(state="up", flags=IFF_NOARP | IFF_UP, change=IFF_NOARP | IFF_UP)
        if not existing.alias:
            changes["ifalias"] = alias_of(spec)
    if not changes:
        return UNCHANGED
    route.link("set", index=existing.number, **changes)
    return CHANGED


def _silence(device: str) -> None:
    """Have the host take no part: a guest that sends to the host's own MAC address finds nobody.

    No route leads out by the device, so that with strict reverse path filtering (RFC 3704) no IPv4 packet that comes
    in by it is the host's.
    """
    for family, switch, value in _SILENT:
        path = Path("/proc/sys/net") / family / "conf" / device / switch
        if path.exists():
            path.write_text(value, "ascii")


@contextmanager
def _netlink(what: str) -> Iterator[Any]:
    try:
        with IPRoute() as route:
            yield route
    except NetlinkError as error:
        reason = error.args[1] if len(error.args) > 1 else str(error)
        raise ToolError(f"the kernel of this host did not {what}: {reason}") from None
