"""What node files may say of a host besides its attributes, and attributes that are checked before they stand in a
script. Pure. Source: specification §6.3.

A value is a text, or the StateError that says why the host has none: only who names it is told.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

from rocks.cluster.attributes import KNOWN
from rocks.cluster.image_places import check_pool_name
from rocks.cluster.storage_roles import storage_roles
from rocks.errors import StateError, UserError
from rocks.wire import queues

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rocks.cluster.records import Host, Network

_DISK = re.compile(r"/dev/[A-Za-z0-9_.:+@/-]+", re.ASCII)
_MOST_DISKS = 2
_ROLE_ATTRIBUTES = {"img_storage_nas": queues.NAS, "img_storage_vm": queues.HOST}

Value = str | StateError


def effective_attributes(host: Host) -> dict[str, str]:
    """The host's attributes, the defaults that conditions ask for among them: its roles, and its packages' kind."""
    roles = storage_roles(host.attributes)
    found = dict(host.attributes)
    for name, role in _ROLE_ATTRIBUTES.items():
        if not found.get(name):
            found[name] = "true" if role in roles else "false"
    found["packaging"] = found.get("packaging") or KNOWN["packaging"].default
    return found


def pool_values(host: Host) -> dict[str, Value]:
    """Names of pools, and the disks that one is made of, each a plain word or several with blanks between."""
    own_pool = host.attribute("vm_container_zpool") or KNOWN["vm_container_zpool"].default
    return {
        "vm_container_zpool": _pools(host, "vm_container_zpool", [own_pool]),
        "img_zpools": _pools(host, "img_zpools", host.attribute("img_zpools").split(",")),
        "vm_container_zpool_layout": _layout(host),
    }


def network_value(host: Host, zone: str, network: Network | None) -> Value:
    """The storage network with its prefix length: that of the zone, where the database has it."""
    if network is None:
        return StateError(
            f"no network has the zone {zone}, in which host {host.name} has its storage address; add it with "
            f"rocks add network, dnszone={zone}"
        )
    try:
        return str(ipaddress.IPv4Network(f"{network.subnet}/{network.netmask}"))
    except ValueError:
        return StateError(
            f"the network {network.name} has the subnet {network.subnet} and the netmask {network.netmask}, which make "
            "no network; mend it with rocks set network"
        )


def split_values(values: Mapping[str, Value]) -> tuple[dict[str, str], dict[str, str]]:
    """(the values that there are, why the others are not)."""
    there = {name: value for name, value in values.items() if isinstance(value, str)}
    return there, {name: str(value) for name, value in values.items() if isinstance(value, StateError)}


def _pools(host: Host, attribute: str, words: list[str]) -> Value:
    names = [word.strip() for word in words if word.strip()]
    try:
        for name in names:
            check_pool_name(name)
    except UserError as error:
        return StateError(f"the attribute {attribute} of host {host.name} has a fault: {error}")
    return " ".join(names)


def _layout(host: Host) -> Value:
    """As zpool wants it: one disk, or `mirror` and two."""
    disks = host.attribute("vm_container_zpool_disks").split()
    fitting = all(_DISK.fullmatch(disk) and ".." not in disk for disk in disks)
    if not 1 <= len(disks) <= _MOST_DISKS or len(set(disks)) < len(disks) or not fitting:
        return StateError(
            f"the attribute vm_container_zpool_disks of host {host.name} names one disk or two, such as "
            "/dev/disk/by-id/NAME, with a blank between"
        )
    return " ".join(["mirror"] * (len(disks) - 1) + disks)
