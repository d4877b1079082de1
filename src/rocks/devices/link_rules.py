"""What network devices may be asked for, and which existing ones are the wanted ones; pure."""

from __future__ import annotations

import re
from typing import Mapping, NamedTuple, Optional

from rocks.errors import StateError, UserError
from rocks.wire.agent import LinkWanted

# what the kernel takes as a name (dev_valid_name), less what would surprise in a path or on a terminal
_NAME = re.compile(r"(?!\.\.?\Z)[A-Za-z0-9._-]{1,15}\Z")
_ALIAS_PREFIX = "rocks:"


class Link(NamedTuple):
    """A network device as the kernel has it; `number` is its index, `parent` that of what it is stacked on."""

    number: int
    name: str
    kind: str
    parent: Optional[int]
    master: Optional[int]
    vlan: Optional[int]
    mtu: int
    is_up: bool
    alias: str


def alias_of(wanted: LinkWanted) -> str:
    """The alias by which a device is known to be ours."""
    return f"{_ALIAS_PREFIX}{wanted.vlan}"


def check_link(wanted: LinkWanted) -> None:
    """UserError unless such a device can exist at all."""
    for name in (wanted.device, wanted.parent or "parent"):
        if not _NAME.match(name):
            raise UserError(
                f"{name[:40]!r} is no name of a network device: at most 15 letters, digits, '.', '_' and '-'"
            )
    if not 1 <= wanted.vlan <= 4094:
        raise UserError(f"VLAN {wanted.vlan} of {wanted.device} is not between 1 and 4094")
    if (wanted.parent is None) != (wanted.kind == "local_bridge"):
        raise UserError(f"{wanted.device}: a VLAN device has a parent, a bridge of the host's own has none")


def check_parent(wanted: LinkWanted, links: Mapping[str, Link]) -> Optional[Link]:
    """The device below the wanted one. StateError when it is missing, down, or of a smaller MTU."""
    if wanted.parent is None:
        return None
    parent = links.get(wanted.parent)
    if parent is None:
        raise StateError(f"this host has no network device {wanted.parent}, on which {wanted.device} belongs")
    if not parent.is_up:
        raise StateError(
            f"the network device {wanted.parent} of this host is down: `ip link set {wanted.parent} up`"
        )
    if wanted.mtu is not None and wanted.mtu > parent.mtu:
        raise StateError(
            f"{wanted.device} is to have an MTU of {wanted.mtu}, but {wanted.parent} below it has {parent.mtu}"
        )
    return parent


def no_vlans(wanted: LinkWanted, has_8021q: bool) -> StateError:
    """The error for a VLAN device that the kernel does not make, because of itself or of the parent."""
    if has_8021q:
        return StateError(f"the network device {wanted.parent} of this host cannot carry VLANs")
    return StateError(
        f"the kernel of this host has no 802.1Q, so {wanted.device} cannot be made: load its module 8021q, "
        "or set the host attribute vlan_transport=local"
    )


def refuse_other_device(wanted: LinkWanted, existing: Link, parent: Optional[Link]) -> None:
    """StateError when the device of the wanted name is another one."""
    kind = "vlan" if wanted.kind == "vlan" else "bridge"
    if existing.kind != kind:
        found = f"a device of kind {existing.kind}" if existing.kind else "a device of another kind"
    elif parent is not None and existing.parent != parent.number:
        found = f"a VLAN device, but not over {parent.name}"
    elif parent is not None and existing.vlan != wanted.vlan:
        found = f"the device of VLAN {existing.vlan}, not {wanted.vlan}"
    elif parent is None and existing.alias not in ("", alias_of(wanted)):
        found = f"a bridge, but known as {existing.alias!r}"
    else:
        return
    raise StateError(
        f"{wanted.device} exists on this host and is {found}; "
        f"remove it there, or use another name for VLAN {wanted.vlan}"
    )
