"""What network devices may be asked for, and which existing ones are the wanted ones; pure."""

from __future__ import annotations

import re
from typing import Iterable, Mapping, NamedTuple, Optional

from rocks.errors import StateError, UserError
from rocks.wire.agent import LinkSpec

# what the kernel takes as a name (dev_valid_name), less what would surprise in a path or on a terminal
_NAME = re.compile(r"(?!\.\.?\Z)[A-Za-z0-9._-]{1,15}\Z")
_ALIAS_PREFIX = "rocks:"
_WITH_ARTICLE = {"vlan": "a VLAN device", "bridge": "a bridge"}


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
    has_carrier: bool = True
    received_bytes: int = 0
    sent_bytes: int = 0


def is_ours(link: Link) -> bool:
    """Whether the device was made by this system."""
    return link.alias.startswith(_ALIAS_PREFIX)


def is_used(link: Link, links: Iterable[Link]) -> bool:
    """Whether another device hangs on this one, or is its port."""
    return any(link.number in (other.parent, other.master) for other in links)


def is_of_site(wanted: LinkSpec) -> bool:
    """Whether the device is one of the site's own, which is looked at and never touched."""
    return wanted.kind in ("site_bridge", "site_device")


def alias_of(wanted: LinkSpec) -> str:
    """The alias by which a device is known to be ours."""
    return f"{_ALIAS_PREFIX}{wanted.vlan}"


def check_link(wanted: LinkSpec) -> None:
    """UserError unless such a device can exist at all."""
    for name in (wanted.device, wanted.parent or "parent"):
        if not _NAME.match(name):
            raise UserError(
                f"{name[:40]!r} is no name of a network device: at most 15 letters, digits, '.', '_' and '-'"
            )
    if is_of_site(wanted):
        if wanted.vlan or wanted.parent is not None:
            raise UserError(f"{wanted.device}: a device of the site has no VLAN and no parent of ours")
        return
    if not 1 <= wanted.vlan <= 4094:
        raise UserError(f"VLAN {wanted.vlan} of {wanted.device} is not between 1 and 4094")
    if (wanted.parent is None) != (wanted.kind == "local_bridge"):
        raise UserError(f"{wanted.device}: a VLAN device has a parent, a bridge of the host's own has none")


def check_parent(wanted: LinkSpec, links: Mapping[str, Link]) -> Optional[Link]:
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


def check_site_device(wanted: LinkSpec, links: Mapping[str, Link]) -> None:
    """StateError unless the site's own device is there, up, and a bridge where one is wanted."""
    found = links.get(wanted.device)
    if found is None:
        raise StateError(
            f"this host has no network device {wanted.device}, on which the guest belongs; is it called otherwise "
            "here (rocks list host interface)?"
        )
    if not found.is_up:
        raise StateError(
            f"the network device {wanted.device} of this host is down: `ip link set {wanted.device} up`"
        )
    if wanted.kind == "site_bridge" and found.kind != "bridge":
        raise StateError(
            f"the network device {wanted.device} of this host is no bridge; make it one, or give guests a macvtap on "
            f"it: rocks set host interface options HOST {wanted.device} macvtap"
        )


def refuse_taken_vlan(wanted: LinkSpec, links: Mapping[str, Link], parent: Optional[Link]) -> None:
    """StateError when another device has the wanted VLAN over the same parent: the kernel allows one."""
    for link in links.values():
        is_same = parent is not None and link.parent == parent.number and link.vlan == wanted.vlan
        if is_same and link.name != wanted.device:
            raise StateError(
                f"VLAN {wanted.vlan} over {wanted.parent} is taken on this host by {link.name}, so {wanted.device} "
                "cannot be made; remove that device there, or give the cluster another VLAN"
            )


def no_vlans(wanted: LinkSpec, has_8021q: bool) -> StateError:
    """The error for a VLAN device that the kernel does not make, because of itself or of the parent."""
    if has_8021q:
        return StateError(f"the network device {wanted.parent} of this host cannot carry VLANs")
    return StateError(
        f"the kernel of this host has no 802.1Q, so {wanted.device} cannot be made: load its module 8021q, "
        "or set the host attribute vlan_transport=local"
    )


def refuse_other_device(wanted: LinkSpec, existing: Link, parent: Optional[Link]) -> None:
    """StateError when the device of the wanted name is another one."""
    kind = "vlan" if wanted.kind == "vlan" else "bridge"
    if existing.kind != kind:
        found = f"a device of kind {existing.kind}" if existing.kind else "a device of another kind"
    elif parent is not None and existing.parent != parent.number:
        found = f"a VLAN device, but not over {parent.name}"
    elif parent is not None and existing.vlan != wanted.vlan:
        found = f"the device of VLAN {existing.vlan}, not {wanted.vlan}"
    elif existing.alias not in ("", alias_of(wanted)):
        found = f"{_WITH_ARTICLE[kind]}, but known as {existing.alias!r}"
    elif not existing.alias and existing.is_up:
        # one of ours that was cut off in the making is still down
        found = f"{_WITH_ARTICLE[kind]} that this system has not made"
    else:
        return
    raise StateError(
        f"{wanted.device} exists on this host and is {found}; "
        f"remove it there, or use another name for VLAN {wanted.vlan}"
    )
