"""Network devices in memory, under the rules of `link_rules`; held to netlink by the cases in `tests/contract`."""

from __future__ import annotations

from typing import Dict, Optional

from rocks.devices.change import CHANGED, UNCHANGED, Change
from rocks.devices.link_rules import (
    Link,
    alias_of,
    check_link,
    check_parent,
    no_vlans,
    refuse_other_device,
)
from rocks.wire.agent import LinkWanted


class FakeLinks:
    """A kernel with or without 802.1Q."""

    def __init__(self, knows_8021q: bool = True) -> None:
        self.links: Dict[str, Link] = {}
        self._knows_8021q = knows_8021q

    def ensure(self, wanted: LinkWanted) -> Change:
        """As `LinkSteps.ensure`."""
        check_link(wanted)
        parent = check_parent(wanted, self.links)
        existing = self.links.get(wanted.device)
        if existing is not None:
            refuse_other_device(wanted, existing, parent)
            mtu = existing.mtu if wanted.mtu is None else wanted.mtu
            alias = existing.alias or ("" if existing.is_up else alias_of(wanted))
            new = existing._replace(mtu=mtu, is_up=True, alias=alias)
            self.links[wanted.device] = new
            return Change(new != existing)
        if parent is not None and not self._knows_8021q:
            raise no_vlans(wanted, has_8021q=False)
        self.add(
            wanted.device,
            "bridge" if parent is None else "vlan",
            parent,
            mtu=wanted.mtu or (1500 if parent is None else parent.mtu),
            vlan=None if parent is None else wanted.vlan,
            alias=alias_of(wanted),
        )
        return CHANGED

    def remove_if_unused(self, wanted: LinkWanted) -> Change:
        """As `LinkSteps.remove_if_unused`."""
        check_link(wanted)
        existing = self.links.get(wanted.device)
        if existing is None or existing.alias != alias_of(wanted):
            return UNCHANGED
        if any(existing.number in (link.parent, link.master) for link in self.links.values()):
            return UNCHANGED
        del self.links[wanted.device]
        return CHANGED

    def has_8021q(self) -> bool:
        """As `LinkSteps.has_8021q`."""
        return self._knows_8021q

    def add(
        self,
        name: str,
        kind: str,
        parent: Optional[Link] = None,
        *,
        is_up: bool = True,
        mtu: int = 1500,
        vlan: Optional[int] = None,
        alias: str = "",
    ) -> Link:
        """A device that somebody made."""
        number = 1 + max((link.number for link in self.links.values()), default=0)
        link = Link(number, name, kind, parent and parent.number, None, vlan, mtu, is_up, alias)
        self.links[name] = link
        return link
