"""Network devices in memory, with the rules of `rules.py`; the contract tests run on it and on netlink."""

from __future__ import annotations

from collections.abc import Container

from rocks.fleet.host.change import CHANGED, UNCHANGED, Change
from rocks.fleet.wire.requests import LinkSpec
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


class FakeLinks:
    """A kernel with or without 802.1Q. What is not documented here is in `LinkDriver`."""

    def __init__(self, knows_8021q: bool = True) -> None:
        self.links: dict[str, Link] = {}
        self._knows_8021q = knows_8021q

    def ensure(self, spec: LinkSpec) -> Change:
        check_link(spec)
        if is_of_site(spec):
            check_site_device(spec, self.links)
            return UNCHANGED
        parent = check_parent(spec, self.links)
        check_vlan_free(spec, self.links, parent)
        existing = self.links.get(spec.device)
        if existing is not None:
            check_same_device(spec, existing, parent)
            mtu = existing.mtu if spec.mtu is None else spec.mtu
            alias = existing.alias or ("" if existing.is_up else alias_of(spec))
            new = existing._replace(mtu=mtu, is_up=True, alias=alias)
            self.links[spec.device] = new
            return Change(new != existing)
        if parent is not None and not self._knows_8021q:
            raise no_vlans(spec, has_8021q=False)
        self.add(
            spec.device,
            "bridge" if parent is None else "vlan",
            parent,
            mtu=spec.mtu or (1500 if parent is None else parent.mtu),
            vlan=None if parent is None else spec.vlan,
            alias=alias_of(spec),
        )
        return CHANGED

    def remove_if_unused(self, spec: LinkSpec) -> Change:
        check_link(spec)
        existing = self.links.get(spec.device)
        if existing is None or existing.alias != alias_of(spec):
            return UNCHANGED
        if is_used(existing, self.links.values()):
            return UNCHANGED
        del self.links[spec.device]
        return CHANGED

    def remove_all_but(self, devices: Container[str]) -> tuple[str, ...]:
        surplus = [link for link in self.links.values() if is_ours(link) and link.name not in devices]
        removed = [link.name for link in surplus if not is_used(link, self.links.values())]
        for name in removed:
            del self.links[name]
        return tuple(removed)

    def list(self) -> tuple[Link, ...]:
        return tuple(self.links.values())

    def has_8021q(self) -> bool:
        return self._knows_8021q

    def add(
        self,
        name: str,
        kind: str,
        parent: Link | None = None,
        *,
        is_up: bool = True,
        mtu: int = 1500,
        vlan: int | None = None,
        alias: str = "",
    ) -> Link:
        """Add a device of any origin."""
        number = 1 + max((link.number for link in self.links.values()), default=0)
        link = Link(number, name, kind, parent and parent.number, None, vlan, mtu, is_up, alias)
        self.links[name] = link
        return link
