"""What can be done with network devices, as a shape: netlink behind `links.py`, memory behind `fake/links.py`."""

from __future__ import annotations

from typing import Container, Protocol, Tuple

from rocks.devices.change import Change
from rocks.devices.network.rules import Link
from rocks.wire.agent import LinkSpec


class LinkDriver(Protocol):
    """What both can do."""

    def ensure(self, spec: LinkSpec) -> Change:
        """Have the device, up, with its MTU; one of the site's own is only looked at.

        StateError when its parent is missing, down or of a smaller MTU, when another device has its name or its
        VLAN, or when the kernel has no 802.1Q; UserError for a name or number that cannot be.
        """

    def remove_if_unused(self, spec: LinkSpec) -> Change:
        """Remove the device if it was made here and nothing hangs on it any more."""

    def remove_all_but(self, devices: Container[str]) -> Tuple[str, ...]:
        """Remove what was made here, is none of the devices, and is used by nothing; returns the names."""

    def list(self) -> Tuple[Link, ...]:
        """All network devices as they are."""

    def has_8021q(self) -> bool:
        """Whether the kernel can make VLAN devices, loading its module if need be."""
