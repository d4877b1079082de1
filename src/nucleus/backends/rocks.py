"""The commands of `rocks` that Nucleus uses: those that read, and those that change."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from nucleus.backends import rocks_output
from rocks.core.errors import HostError, ToolError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nucleus.backends.executor import Answer, Executor, Stream

IMPORT_SECONDS = 800
"""How much longer the import of an image may take than other commands."""

START_SECONDS = 1200
"""How much longer a start may take than other commands.

`rocks start host vm` waits a quarter of an hour for an image that is being written back, and five minutes for its
device.
"""

SLOW_SECONDS = 60
"""How much longer than other commands one may take that waits for a guest, or removes machines.

`rocks stop host vm action=shutdown` waits as long for a guest by default.
"""

DISK_SECONDS = 1200
"""How much longer than other commands one may take that removes a disk and makes another: a NAS may take five minutes
for each, while it answers others."""

SOME_FAILED = 3
"""Exit status of a command that some hosts or NASes did not answer."""


class Source(NamedTuple):
    """A command that reads: its name in the mirror, its arguments, and how its output is read."""

    name: str
    arguments: tuple[str, ...]
    read: Callable[[str], Any]
    is_topology: bool


CLUSTER = Source("cluster", ("list", "cluster", "json=yes"), rocks_output.read_members, True)
INTERFACE = Source("interface", ("list", "host", "interface", "json=yes"), rocks_output.read_interfaces, True)
ROUTE = Source("route", ("list", "host", "route", "json=yes"), rocks_output.read_gateways, True)
VM = Source(
    "vm", ("list", "host", "vm", "status=yes", "showdisks=yes", "json=yes"), rocks_output.read_machines, False
)
STORAGEMAP = Source("storagemap", ("list", "host", "storagemap", "json=yes"), rocks_output.read_images, False)
SOURCES = (CLUSTER, INTERFACE, ROUTE, VM, STORAGEMAP)
"""What a complete poll asks."""

LIBRARY = Source("image", ("list", "image", "json=yes"), rocks_output.read_library, False)


_LARGEST_PICTURE = 11 << 20
"""Bytes; `rocks report host vm screen` refuses larger ones."""

_READING = threading.Lock()
"""One output is read at a time: each takes as much memory again as all that is known."""


class SiteError(ToolError):
    """A command of `rocks` failed; the text is for operators. What `rocks` reported: family and code, or "" and "".

    `status`: its exit status; 0 where it is not known.
    """

    def __init__(self, message: str, family: str = "", code: str = "", status: int = 0) -> None:
        super().__init__(message)
        self.reported_family, self.reported_code, self.status = family, code, status


class Rows(NamedTuple):
    """What a source read; `is_complete` is False where some hosts or NASes did not answer.

    `is_blank`: it printed nothing. An empty list is an answer where all hosts and NASes answered, but not of clusters
    and interfaces: the site's own frontend is in both.
    """

    content: Any
    is_complete: bool
    is_blank: bool


class Done(NamedTuple):
    """What a start or a stop left: the machine's host and state, where it printed them, and its error, if any."""

    seen: rocks_output.State | None
    error: ToolError | None


class Rocks:
    """`rocks` behind an executor; every command has a deadline."""

    def __init__(self, executor: Executor, deadline_seconds: float) -> None:
        self._executor = executor
        self._deadline_seconds = deadline_seconds

    def read(self, source: Source) -> Rows:
        """What the command lists. ToolError for a failure and for output that is not of its shape."""
        answer = self._executor.run(source.arguments, self._deadline_seconds)
        if answer.status not in (0, SOME_FAILED):
            raise _failure(source.arguments, answer.status, answer.err)
        with _READING:
            content = source.read(answer.out)
        printed = answer.out.strip()
        is_complete = answer.status == 0
        may_be_empty = is_complete and source not in (CLUSTER, INTERFACE)
        return Rows(content, is_complete, not printed or (printed == "[]" and not may_be_empty))

    def list_machines(self) -> set[str]:
        """Names of the machines of all clusters. ToolError also for a blank list, in which not even the site is."""
        rows = self.read(CLUSTER)
        if rows.is_blank or not rows.is_complete:
            raise ToolError(f"`rocks {' '.join(CLUSTER.arguments)}` printed nothing, or not everything")
        return {member.name for member in rows.content}

    def read_state(self, machine: str) -> rocks_output.State:
        """The state of a machine now; all None where its host does not say. SiteError when there is no such machine."""
        answer = self._run(("list", "host", "vm", machine, "status=yes", "json=yes"))
        return next(iter(rocks_output.read_states(answer).values()), rocks_output.State())

    def place(self, machine: str, host: str) -> None:
        """Have the machine start on this host from now on."""
        self._change(("set", "host", "vm", machine, f"physnode={host}"))

    def start(self, machine: str) -> Done:
        """Start a machine; its image is mapped before. That it runs already is an error."""
        return self._act(("start", "host", "vm", machine), START_SECONDS)

    def stop(self, machine: str, action: str, wait_seconds: int | None = None) -> Done:
        """Power it off, shut it down, reset or reboot it; success does not prove that it did.

        A shutdown waits so long for the guest, by default as long as `rocks` does, and powers it off then.
        """
        wait = () if wait_seconds is None else (f"timeout={wait_seconds}",)
        longest = (SLOW_SECONDS + (wait_seconds or 0)) * (action == "shutdown")
        return self._act(("stop", "host", "vm", machine, f"action={action}", *wait), longest)

    def set_cdrom(self, machine: str, medium: str | None) -> None:
        """Insert an ISO (`image=NAME`, `cdrom=PATH`), or none, from the next start on."""
        self._change(("set", "host", "vm", "cdrom", machine, medium or "cdrom=none"))

    def reinstall(self, machine: str, image: str | None) -> None:
        """Remove its first disk; its next start makes it from this image of the library, or from the one it has."""
        chosen = () if image is None else (f"image={image}",)
        self._change(("reinstall", "host", "vm", machine, *chosen), DISK_SECONDS)

    def clone(self, original: str, machine: str) -> None:
        """Replace its first disk by a clone of that of another machine of its cluster."""
        self._change(("clone", "host", "vm", original, machine), DISK_SECONDS)

    def add_image(self, name: str, path: str, sha256: str) -> None:
        """Import an ISO into the image library."""
        arguments = ("add", "image", name, f"file={path}", f"checksum={sha256}", "format=iso")
        self._change(arguments, IMPORT_SECONDS)

    def remove_image(self, name: str) -> None:
        """Remove an image from the library."""
        self._change(("remove", "image", name))

    def remove_cluster(self, name: str) -> None:
        """Remove a virtual cluster; the disks of its machines stay."""
        self._change(("remove", "cluster", name), SLOW_SECONDS)

    def remove_machine(self, machine: str) -> None:
        """Have it be no virtual machine any more; its disks stay, and its name, for the operators."""
        self._change(("remove", "host", "vm", machine), SLOW_SECONDS)

    def open_console(self, machine: str, kind: str) -> Stream:
        """The bytes of a machine's console, vnc or serial."""
        return self._executor.open(("open", "host", "console", machine, f"type={kind}", "stream=yes"))

    def read_console(self, machine: str, lines: int) -> list[str]:
        """The last lines of a machine's serial console, oldest first; none where it has written nothing."""
        return self._run(("report", "host", "vm", "console", machine, f"lines={lines}")).splitlines()

    def read_screen(self, machine: str) -> bytes:
        """A picture of a machine's screen, as PNG. SiteError when there is none, HostError when it does not come."""
        arguments = ("report", "host", "vm", "screen", machine)
        stream = self._executor.open(arguments)
        end = time.monotonic() + self._deadline_seconds
        picture = bytearray()
        try:
            while len(picture) < _LARGEST_PICTURE:
                stream.connection.settimeout(max(end - time.monotonic(), 0.001))  # of all, not of each piece
                piece = stream.connection.recv(1 << 16)
                if not piece:
                    break
                picture += piece
        except OSError as error:
            raise HostError(f"the picture of the screen of {machine} has not come: {error}") from None
        finally:
            reason = stream.close()
        if not picture.startswith(b"\x89PNG"):
            raise _failure(arguments, 1, reason)
        return bytes(picture)

    def pragma(self, arguments: Sequence[str], more_seconds: float = 0.0) -> str:
        """What a command of the roll pragma prints."""
        return self._run(("pragma", *arguments), more_seconds)

    def _act(self, arguments: Sequence[str], more_seconds: float = 0.0) -> Done:
        """A command that prints the state of its machine, also when it fails."""
        answer, error = self._try(arguments, more_seconds)
        seen = None
        with contextlib.suppress(ToolError):  # a plugin of the site may print, too
            seen = next(iter(rocks_output.read_states(answer.out).values()), None)
        return Done(seen, error)

    def _change(self, arguments: Sequence[str], more_seconds: float = 0.0) -> None:
        _, error = self._try(arguments, more_seconds)
        if error is not None:
            raise error

    def _try(self, arguments: Sequence[str], more_seconds: float) -> tuple[Answer, SiteError | None]:
        """The answer to a command that changes something, and its error with what is known of the cause."""
        answer = self._executor.run((*arguments, "json=yes"), self._deadline_seconds + more_seconds)
        if answer.status == 0:
            return answer, None
        return answer, _failure(arguments, answer.status, answer.err, *rocks_output.read_error(answer.out))

    def _run(self, arguments: Sequence[str], more_seconds: float = 0.0) -> str:
        answer = self._executor.run(arguments, self._deadline_seconds + more_seconds)
        if answer.status != 0:
            raise _failure(arguments, answer.status, answer.err, *rocks_output.read_error(answer.out))
        return answer.out


def _failure(
    arguments: Sequence[str], status: int, message: str, family: str = "", code: str = ""
) -> SiteError:
    reason = message.strip().removeprefix("Error: ") or "it printed nothing"
    return SiteError(f"`rocks {' '.join(arguments)}` ended with {status}: {reason}", family, code, status)
