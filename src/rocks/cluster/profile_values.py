"""Values that node files may use besides attributes, and attributes that are checked before a script contains them.
Pure. Source: specification §6.3.

A value is a text, or a StateError that explains why the host has no value. The error is raised only when a node file
uses the value.
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
    """The attributes of a host with defaults for conditions: its storage roles and the kind of its packages."""
    roles = storage_roles(host.attributes)
    found = dict(host.attributes)
    for name, role in _ROLE_ATTRIBUTES.items():
        if not found.get(name):
            found[name] = "true" if role in roles else "false"
    found["packaging"] = found.get("packaging") or KNOWN["packaging"].default
    return found


def pool_values(host: Host) -> dict[str, Value]:
    """Names of pools, and the disks of one pool; several names are separated by blanks."""
    own_pool = host.attribute("vm_container_zpool") or KNOWN["vm_container_zpool"].default
    return {
        "vm_container_zpool": _pools(host, "vm_container_zpool", [own_pool]),
        "img_zpools": _pools(host, "img_zpools", host.attribute("img_zpools").split(",")),
        "vm_container_zpool_layout": _layout(host),
    }


def network_value(host: Host, zone: str, network: Network | None) -> Value:
    """The network of the storage zone with its prefix length; StateError when the database has none."""
    if network is None:
        return StateError(
            f"no network has the zone {zone}, in which host {host.name} has its storage address; add it with "
            f"rocks add network, dnszone={zone}"
        )
    try:
        return str(ipaddress.IPv4Network(f"{network.subnet}/{network.netmask}"))
    except ValueError:
        return StateError(
            f"the network {network.name} has the subnet {network.subnet} and the netmask {network.netmask}, which are "
            "not valid together; correct them with rocks set network"
        )


def split_values(values: Mapping[str, Value]) -> tuple[dict[str, str], dict[str, str]]:
    """(the valid values, the error texts of the others)."""
    valid = {name: value for name, value in values.items() if isinstance(value, str)}
    return valid, {name: str(value) for name, value in values.items() if isinstance(value, StateError)}


def _pools(host: Host, attribute: str, texts: list[str]) -> Value:
    names = [text.strip() for text in texts if text.strip()]
    try:
        for name in names:
            check_pool_name(name)
    except UserError as error:
        return StateError(f"the attribute {attribute} of host {host.name} is not valid: {error}")
    return " ".join(names)


def _layout(host: Host) -> Value:
    """The arguments of `zpool create`: one disk, or `mirror` and two disks."""
    disks = host.attribute("vm_container_zpool_disks").split()
    fitting = all(_DISK.fullmatch(disk) and ".." not in disk for disk in disks)
    if not 1 <= len(disks) <= _MOST_DISKS or len(set(disks)) < len(disks) or not fitting:
        return StateError(
            f"the attribute vm_container_zpool_disks of host {host.name} must be one or two disks, such as "
            "/dev/disk/by-id/NAME, separated by a blank"
        )
    return " ".join(["mirror"] * (len(disks) - 1) + disks)
