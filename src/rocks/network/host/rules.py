"""Operations on network devices as a Protocol: `links.py` implements it by netlink, `tests/fakes` in memory."""

from __future__ import annotations

import re
from typing import Container, Iterable, Mapping, NamedTuple, Optional, Protocol, Tuple

from rocks.core.errors import StateError, UserError
from rocks.fleet.host.change import Change
from rocks.fleet.wire.requests import LinkSpec
from rocks.network.limits import LEAST_VLAN_ID, MAX_VLAN_ID


class LinkDriver(Protocol):
    """VLAN devices and bridges of a host."""

    def ensure(self, spec: LinkSpec) -> Change:
        """Create the device if it is missing, set its MTU and bring it up; a device of the site is only checked.

        StateError when its parent is missing, down or has a smaller MTU, when another device has its name or its
        VLAN, or when the kernel has no 802.1Q; UserError for an invalid name or VLAN.
        """

    def remove_if_unused(self, spec: LinkSpec) -> Change:
        """Remove the device if this system created it and no other device uses it."""

    def remove_all_but(self, devices: Container[str]) -> Tuple[str, ...]:
        """Remove the unused devices of this system except `devices`; returns the names of the removed ones."""

    def list(self) -> Tuple[Link, ...]:
        """All network devices."""

    def has_8021q(self) -> bool:
        """Whether the kernel supports VLAN devices; loads the module if necessary."""


# Which network devices may be requested, and whether an existing one matches a spec; pure.
#
# With the host attribute `vlan_transport=local`, for kernels without 802.1Q, a VLAN is a bridge of the host
# alone, named as the VLAN device would be. A cluster on two hosts, one of which has it, is refused. It is never
# chosen automatically: such a cluster would come up and not be able to talk. Tunnels would be another network
# to describe and to secure.


# names that the kernel accepts (dev_valid_name), restricted to characters that are safe in paths and terminals
_NAME = re.compile(r"(?!\.\.?\Z)[A-Za-z0-9._-]{1,15}\Z")
_ALIAS_PREFIX = "rocks:"
_WITH_ARTICLE = {"vlan": "a VLAN device", "bridge": "a bridge"}


class Link(NamedTuple):
    """A network device. `number` is its interface index, `parent` and `master` are those of other devices."""

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
    """Whether this system created the device."""
    return link.alias.startswith(_ALIAS_PREFIX)


def is_used(link: Link, links: Iterable[Link]) -> bool:
    """Whether another device is stacked on this one or is a port of it."""
    return any(link.number in (other.parent, other.master) for other in links)


def is_of_site(spec: LinkSpec) -> bool:
    """Whether the device belongs to the site: it is checked and never changed."""
    return spec.kind in ("site_bridge", "site_device")


def alias_of(spec: LinkSpec) -> str:
    """The alias that marks a device of this system."""
    return f"{_ALIAS_PREFIX}{spec.vlan}"


def check_device_name(name: str) -> None:
    """UserError unless it is a valid name of a network device."""
    if not _NAME.match(name):
        raise UserError(
            f"{name[:40]!r} is not a valid name of a network device: at most 15 letters, digits, '.', '_' and '-'"
        )


def check_link(spec: LinkSpec) -> None:
    """UserError unless the spec is valid."""
    for name in (spec.device, spec.parent or "parent"):
        check_device_name(name)
    if is_of_site(spec):
        if spec.vlan or spec.parent is not None:
            raise UserError(f"{spec.device}: a device of the site has no VLAN and no parent")
        return
    if not LEAST_VLAN_ID <= spec.vlan <= MAX_VLAN_ID:
        raise UserError(f"VLAN {spec.vlan} of {spec.device} is not between {LEAST_VLAN_ID} and {MAX_VLAN_ID}")
    if (spec.parent is None) != (spec.kind == "local_bridge"):
        raise UserError(f"{spec.device}: a VLAN device needs a parent, a local bridge has none")


def check_parent(spec: LinkSpec, links: Mapping[str, Link]) -> Optional[Link]:
    """The parent device; None for a bridge. StateError when it is missing, down, or has a smaller MTU."""
    if spec.parent is None:
        return None
    parent = links.get(spec.parent)
    if parent is None:
        raise StateError(f"this host has no network device {spec.parent}, on which {spec.device} belongs")
    if not parent.is_up:
        raise StateError(
            f"the network device {spec.parent} of this host is down: `ip link set {spec.parent} up`"
        )
    if spec.mtu is not None and spec.mtu > parent.mtu:
        raise StateError(
            f"{spec.device} requires an MTU of {spec.mtu}, but {spec.parent} below it has {parent.mtu}; "
            "lower that of the network: rocks set network mtu"
        )
    return parent


def check_site_device(spec: LinkSpec, links: Mapping[str, Link]) -> None:
    """StateError unless the site's device exists, is up, and is a bridge if the spec requests one."""
    found = links.get(spec.device)
    if found is None:
        raise StateError(
            f"this host has no network device {spec.device}, on which the guest belongs; correct its name "
            "(rocks list host interface)"
        )
    if not found.is_up:
        raise StateError(
            f"the network device {spec.device} of this host is down: `ip link set {spec.device} up`"
        )
    if spec.kind == "site_bridge" and found.kind != "bridge":
        raise StateError(
            f"the network device {spec.device} of this host is not a bridge; make it one, or give guests a macvtap on "
            f"it: rocks set host interface options HOST {spec.device} macvtap"
        )


def check_vlan_free(spec: LinkSpec, links: Mapping[str, Link], parent: Optional[Link]) -> None:
    """StateError when another device has the VLAN over the same parent: the kernel allows one."""
    for link in links.values():
        is_same = parent is not None and link.parent == parent.number and link.vlan == spec.vlan
        if is_same and link.name != spec.device:
            raise StateError(
                f"VLAN {spec.vlan} over {spec.parent} is already used on this host by {link.name}, so {spec.device} "
                "cannot be made; remove that device there, or give the cluster another VLAN"
            )


def no_vlans(spec: LinkSpec, has_8021q: bool) -> StateError:
    """The error for a VLAN device that the kernel or the parent does not support."""
    if has_8021q:
        return StateError(
            f"the network device {spec.parent} of this host cannot carry VLANs; set the host attribute "
            "vlan_transport=local, or choose another device"
        )
    return StateError(
        f"the kernel of this host has no 802.1Q, so {spec.device} cannot be made: load its module 8021q, "
        "or set the host attribute vlan_transport=local"
    )


def check_same_device(spec: LinkSpec, existing: Link, parent: Optional[Link]) -> None:
    """StateError when the existing device of that name does not match the spec."""
    kind = "vlan" if spec.kind == "vlan" else "bridge"
    if existing.kind != kind:
        found = f"a device of kind {existing.kind}" if existing.kind else "a device of another kind"
    elif parent is not None and existing.parent != parent.number:
        found = f"a VLAN device, but not over {parent.name}"
    elif parent is not None and existing.vlan != spec.vlan:
        found = f"the device of VLAN {existing.vlan}, not {spec.vlan}"
    elif existing.alias not in ("", alias_of(spec)):
        found = f"{_WITH_ARTICLE[kind]}, but has the alias {existing.alias!r}"
    elif not existing.alias and existing.is_up:
        # a device of this system whose creation was interrupted is still down
        found = f"{_WITH_ARTICLE[kind]} not created by this system"
    else:
        return
    raise StateError(
        f"{spec.device} exists on this host and is {found}; "
        f"remove it there, or use another name for VLAN {spec.vlan}"
    )
