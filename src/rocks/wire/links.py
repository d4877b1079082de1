"""A network device that a host is to have for its guests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Optional

LinkKind = Literal["vlan", "local_bridge", "site_bridge", "site_device"]


@dataclass(frozen=True)
class LinkSpec:
    """A network device that guests hang on: an 802.1Q device over `parent`, or a bridge without uplink.

    The bridge has no parent. `mtu` None leaves what the kernel gives it. A `site_bridge` or `site_device` is not ours:
    it must be there, be up, and be a bridge or be none; its VLAN is 0.
    """

    device: str
    kind: LinkKind
    parent: Optional[str]
    vlan: int
    mtu: Optional[int] = None
