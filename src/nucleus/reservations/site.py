"""A site as the controller uses it: `rocks pragma …` of this one, and what it prints.

What it prints is another program's: names and addresses are compared with their forms before anything is done with
them.
"""

from __future__ import annotations

import json
import re
import socket
from ipaddress import AddressValueError, IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import HostError, ToolError

if TYPE_CHECKING:
    from nucleus.backends.rocks import Rocks
    from nucleus.reservations.records import Requested

BOOT_SECONDS = 3600.0
"""Of a boot: vc-in.xml may have computes wait for their frontend."""

_OFF = ("nostate", "shutoff", "crashed")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SSH_PORT, _SSH_SECONDS = 22, 3.0


class Seen(NamedTuple):
    """A cluster of a site: its frontend, the states of all its machines, its public address if it has one."""

    name: str
    states: tuple[str, ...]
    address: str | None

    @property
    def is_off(self) -> bool:
        """Whether none of its machines may run."""
        return all(state in _OFF for state in self.states)

    @property
    def answers(self) -> bool:
        """Whether all its machines run, and a server of SSH answers at its address."""
        return all(state == "active" for state in self.states) and _has_ssh(self.address)


class LocalSite:
    """This site; `folder`: where root takes the keys of owners from."""

    def __init__(self, rocks: Rocks, folder: str) -> None:
        self._rocks, self._folder = rocks, Path(folder)

    def boot(self, requested: Requested) -> None:
        """Boot the cluster of an interval, or go on with it."""
        path = self._key(requested.id)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{requested.public_key}\n", "utf-8")
        except OSError as error:
            raise HostError(f"cannot write {path}: {error.strerror}; look at its disk") from None
        arguments = (requested.vc, str(requested.cpus), f"key={path}", f"request=nucleus-{requested.id}")
        self._rocks.pragma(("boot", *arguments), BOOT_SECONDS)

    def look(self, number: int) -> Seen | None:
        """The cluster of an interval; None when there is none."""
        return read_cluster(self._rocks.pragma(("list", "cluster", f"request=nucleus-{number}", "json=yes")))

    def remove(self, number: int) -> None:
        """Shut it down and remove it, if it is there; its disks, too."""
        found = self.look(number)
        if found is not None:
            if not found.is_off:
                self._rocks.pragma(("shutdown", found.name), BOOT_SECONDS)
            self._rocks.pragma(("clean", found.name), BOOT_SECONDS)
        self._key(number).unlink(missing_ok=True)

    def _key(self, number: int) -> Path:
        return self._folder / f"{number}.pub"


def read_cluster(text: str) -> Seen | None:
    """The one cluster of `pragma list cluster … json=yes`. ToolError for anything else."""
    try:
        content = json.loads(text) if text.strip() else []
        if not content:
            return None
        (one,) = content
        states = tuple(str(row["status"]) for row in one["cluster"])
        addresses = [str(IPv4Address(row["public ip"])) for row in one["cluster"] if row["public ip"]]
        if not _NAME.fullmatch(one["frontend"]) or not states:
            raise ValueError
        return Seen(one["frontend"], states, addresses[0] if addresses else None)
    except (ValueError, KeyError, TypeError, AddressValueError, RecursionError):
        raise ToolError(f"pragma list cluster printed {text[:80]!r}, which is no cluster") from None


def _has_ssh(address: str | None) -> bool:
    if address is None:
        return False
    try:
        with socket.create_connection((address, _SSH_PORT), _SSH_SECONDS) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False
