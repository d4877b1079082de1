"""Network devices of a demo, test or bench: bridges without uplink, each with an alias that names its owner.

The alias exists as long as the link, whatever happens to files of ours.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rocks.core.errors import StateError, ToolError
from rocks.core.process import run, run_checked
from rocks.network.host.packet_filter import Filters

_DEADLINE_SECONDS = 10.0
_MAX_SITES = 10


class Link(NamedTuple):
    """A network device of this machine: its name and its alias, which may be empty."""

    name: str
    alias: str


def alias_of(folder: Path) -> str:
    """The alias of links that belong to the state folder; at most 255 bytes fit, and a path may be longer."""
    return f"rocks lab {hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:16]}"


def read_links() -> list[Link]:
    """All network devices of this machine."""
    return parse_links(_ip("-json", "link", "show"))


def parse_links(text: str) -> list[Link]:
    """The devices in the output of `ip -json link show`."""
    return [Link(str(row["ifname"]), str(row.get("ifalias", ""))) for row in json.loads(text)]


def choose_names(links: Sequence[Link], stems: Sequence[str], alias: str) -> list[str]:
    """A name for each stem, all with the same number: that of the devices with the alias, else the first free one.

    A name is free when neither it nor a VLAN on it is there. StateError when none of ten numbers is free.
    """
    ours = {link.name for link in links if link.alias == alias}
    others = {link.name for link in links} - ours
    taken = others | {_parent(name) for name in others}
    choices = [[f"{stem}{number}" for stem in stems] for number in range(_MAX_SITES)]
    # One that was killed half-way may have only one of its devices.
    for names in choices:
        if any(name in ours for name in names) and not any(name in others for name in names):
            return names
    for names in choices:
        if not any(name in taken for name in names):
            return names
    raise StateError(
        f"the network devices {stems[0]}0 to {stems[0]}{_MAX_SITES - 1} are all taken, by other demos perhaps; "
        "see `ip link`, stop those, or remove the devices"
    )


def ensure_bridge(name: str, alias: str, address: str | None = None) -> bool:
    """A bridge without uplink, with the address (10.1.1.1/16) or none; returns whether it was created.

    StateError when the name is taken by a device without our alias, ToolError when the kernel refuses.
    """
    existing = next((link for link in read_links() if link.name == name), None)
    if existing is not None and existing.alias != alias:
        raise StateError(f"the network device {name} is there already and not ours; it is left as it is")
    if existing is None:
        _ip("link", "add", name, "type", "bridge")
        _ip("link", "set", name, "alias", alias)
        _ip("link", "set", name, "addrgenmode", "none")
    if address is not None:
        _ip("address", "replace", address, "dev", name)
    _ip("link", "set", name, "up")
    return existing is None


def remove_links(alias: str) -> list[str]:
    """Remove the devices of that alias and the VLANs on them, named after them; returns the names."""
    links = read_links()
    ours = [link.name for link in links if link.alias == alias]
    names = [link.name for link in links if _parent(link.name) in ours] + ours
    removed = []
    for name in names:
        answer = run(["/usr/sbin/ip", "link", "delete", name], deadline_seconds=_DEADLINE_SECONDS)
        if answer.exit_status == 0:
            removed.append(name)
        elif any(link.name == name for link in read_links()):  # else it went with the device below it
            raise ToolError(f"the network device {name} cannot be removed: {answer.error_text}")
    return removed


def has_vlans(device: str) -> bool:
    """Whether the kernel makes 802.1Q devices: tried on `device`, which must exist."""
    name = f"{device}.4094"
    made = run(
        ["/usr/sbin/ip", "link", "add", "link", device, "name", name, "type", "vlan", "id", "4094"],
        deadline_seconds=_DEADLINE_SECONDS,
    )
    if made.exit_status != 0:
        return False
    _ip("link", "delete", name)
    return True


def has_filters() -> bool:
    """Whether the kernel filters what guests send: asked by the agent's own way, which leaves nothing."""
    return Filters().works()


def _parent(name: str) -> str:
    found = re.fullmatch(r"(.+)\.\d+", name)
    return found.group(1) if found else ""


def _ip(*arguments: str) -> str:
    return run_checked(["/usr/sbin/ip", *arguments], deadline_seconds=_DEADLINE_SECONDS).text
