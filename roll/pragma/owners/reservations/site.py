"""A site as the controller uses it: `rocks pragma …` of this one, `pragma …` by SSH of another, and what it prints.

What it prints is another program's: names and addresses are compared with their forms before anything is done with
them.
"""

from __future__ import annotations

import json
import re
import shlex
import socket
from ipaddress import AddressValueError, IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from nucleus.backends.rocks import SiteError
from owners.reservations.rules import STOP_SECONDS
from rocks.core.errors import EXIT_UNKNOWN_COMMAND, HostError, ToolError
from rocks.core.process import run
from rocks.core.terminal import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nucleus.backends.rocks import Rocks
    from owners.reservations.records import Requested

MAX_SECONDS = 3600.0
"""Of a boot, a shutdown or a removal: vc-in.xml may have computes wait for their frontend."""

_OPTIONS = (
    "-oBatchMode=yes", "-oStrictHostKeyChecking=yes", "-oConnectTimeout=10", "-oServerAliveInterval=15",
    "-oClearAllForwardings=yes",
)  # fmt: skip
_REMOTE_KEY = ".{}.pub"

_MAX_OUTPUT_BYTES = 1 << 20
"""Of what another site prints: it may be without end."""

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
        self.pragma, self._folder = rocks.pragma, Path(folder)

    def store_key(self, requested: Requested) -> str:
        """Have the site know an owner's key; the path of its file there."""
        path = self._key(requested)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{requested.public_key}\n", "utf-8")
        except OSError as error:
            raise HostError(f"cannot write {path}: {error.strerror}; look at its disk") from None
        return str(path)

    def remove_key(self, requested: Requested) -> None:
        """Remove that file, if it is there."""
        self._key(requested).unlink(missing_ok=True)

    def _key(self, requested: Requested) -> Path:
        return self._folder / f"{requested.id}.pub"


class RemoteSite:
    """A site that is reached by the program ssh with the key of this user, whose known_hosts has the site's key."""

    def __init__(self, login: str, command_seconds: float) -> None:
        self._login, self._seconds = login, command_seconds

    def store_key(self, requested: Requested) -> str:
        """As `LocalSite.store_key`: in the home of the remote user."""
        path = _REMOTE_KEY.format(requested.request)
        self._ask(("tee", path), self._seconds, f"{requested.public_key}\n".encode())
        return path

    def remove_key(self, requested: Requested) -> None:
        """As `LocalSite.remove_key`."""
        self._ask(("rm", "-f", _REMOTE_KEY.format(requested.request)), self._seconds)

    def pragma(self, arguments: Sequence[str], more_seconds: float = 0.0) -> str:
        """What a command of `pragma` prints. ToolError or HostError when it fails, or does not end in time."""
        return self._ask(("pragma", *arguments), self._seconds + more_seconds)

    def _ask(self, arguments: Sequence[str], seconds: float, standard_input: bytes = b"") -> str:
        # the other end has a shell
        command = ("ssh", *_OPTIONS, "--", self._login, shlex.join(arguments))
        finished = run(
            command, deadline_seconds=seconds, standard_input=standard_input, max_bytes=_MAX_OUTPUT_BYTES
        )
        if finished.exit_status:
            reason = one_line(finished.error_text)[-300:] or f"exit status {finished.exit_status}"
            raise HostError(f"{arguments[0]} failed at {self._login}: {reason}; try it by ssh as this user")
        return finished.text


SiteConnection = LocalSite | RemoteSite
"""What is asked of the site where a cluster runs: its keys of owners, and its `pragma`."""


def boot(site: SiteConnection, requested: Requested, hosts: Sequence[str] = ()) -> None:
    """Boot the cluster of an interval, or go on with it; not beyond the moment at which it is stopped.

    `hosts`: those on which it runs; empty where the site chooses.
    """
    path = site.store_key(requested)
    further = [*["add-iface=ent"] * requested.has_ent, *[f"hosts={','.join(hosts)}"] * bool(hosts)]
    arguments = (
        requested.vc,
        str(requested.cpus),
        f"key={path}",
        *further,
        f"request={requested.request}",
    )
    site.pragma(("boot", *arguments), min(MAX_SECONDS, max(requested.seconds_left - STOP_SECONDS, 0.0)))


def look(site: SiteConnection, requested: Requested) -> Seen | None:
    """The cluster of an interval; None when there is none."""
    return seen_cluster(site.pragma(("list", "cluster", f"request={requested.request}", "json=yes")))


def remove(site: SiteConnection, requested: Requested) -> None:
    """Shut the cluster of an interval down and remove it, if it is there; its disks, too."""
    # first: a boot that goes on there, though nobody waits for it, ends where it reads the key; `look` waits for one
    # that has read it
    site.remove_key(requested)
    found = look(site, requested)
    if found is not None and not found.is_off:
        site.pragma(("shutdown", found.name), MAX_SECONDS)
        found = look(site, requested)  # that was long: its name may be another cluster's by now
    if found is not None:
        site.pragma(("clean", found.name), MAX_SECONDS)


def listed_images(site: SiteConnection) -> list[str]:
    """The names of the cluster images that a site has; none without the roll pragma, whose command it is.

    ToolError or HostError when it does not state them.
    """
    try:
        text = site.pragma(("list", "repository", "json=yes"))
    except SiteError as error:
        if error.status == EXIT_UNKNOWN_COMMAND:
            return []
        raise
    try:
        return [str(row["virtual image"]) for row in json.loads(text or "[]")]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ToolError(f"pragma list repository printed {text[:80]!r}, which is no list") from None


def seen_cluster(text: str) -> Seen | None:
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
