"""Operations on network devices as a Protocol: `links.py` implements it by netlink, `fake.py` in memory."""

from __future__ import annotations

from typing import Container, Protocol, Tuple

from rocks.fleet.host.change import Change
from rocks.fleet.wire.requests import LinkSpec
from rocks.network.host.rules import Link


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
