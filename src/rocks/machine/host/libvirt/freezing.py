"""File systems of guests that are frozen, and thawed whatever becomes of the process that froze them."""

from __future__ import annotations

import contextlib
import os
import select
import sys
from functools import partial
from pathlib import Path
from typing import Callable, Optional

import rocks
from rocks.core.errors import HostError, StateError, ToolError
from rocks.core.files import explain, write_file
from rocks.core.process import finish, start_with_pipes
from rocks.fleet.host.change import CHANGED, Change
from rocks.fleet.host.state_folder import Place, ensure_folder
from rocks.fleet.wire.requests import FreezeGuest, ThawGuest
from rocks.machine.host.host import Host
from rocks.machine.host.libvirt.driver import DomainDriver, NothingFrozenError

# File systems of a guest that are frozen for a `with`, or longer, and thawed whatever becomes of this process.

_START_SECONDS = 60.0
_END_SECONDS = 5.0
_NOT_CONNECTED = "its guest agent is not connected"


def remove_mark(mark: Optional[Path]) -> None:
    """Remove the marker file: the guest is thawed, or has ended."""
    if mark is not None:
        with contextlib.suppress(OSError):
            mark.unlink()


class Thawer:
    """The other process that thaws (`thawer.py`), started and ready. ToolError when it does not become ready."""

    def __init__(self, name: str, mark: Optional[Path] = None) -> None:
        environment = dict(os.environ, PYTHONPATH=str(Path(rocks.__file__).parent.parent))
        program = [sys.executable or "/usr/bin/python3", "-m", "rocks.machine.host.libvirt.thawer", name]
        program += [] if mark is None else [str(mark)]
        self._process = start_with_pipes(program, environment)
        assert self._process.stdout is not None
        readable, _, _ = select.select([self._process.stdout], [], [], _START_SECONDS)
        if not readable or self._process.stdout.readline() != b"ready\n":
            self._process.kill()
            last = finish(self._process, _END_SECONDS).split("\n")[-1]
            raise ToolError(f"the process that would thaw them did not start: {last or 'it printed nothing'}")

    def dismiss(self) -> None:
        """The guest is thawed: the other process ends, and does nothing."""
        assert self._process.stdin is not None
        # it may have ended: it was killed, or has thawed after its longest time
        with contextlib.suppress(OSError):
            self._process.stdin.write(b"thawed\n")
            self._process.stdin.flush()
        finish(self._process, _END_SECONDS)

    def hold(self) -> None:
        """The guest stays frozen: the other process thaws it when the marker file is gone, or after its longest time.

        ToolError when that process has ended.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(b"hold\n")
            self._process.stdin.flush()
        except OSError:
            raise ToolError("the process that would thaw them has ended") from None
        self.leave_to()

    def leave_to(self) -> None:
        """The guest is not known to be thawed: the other process goes on with that, also when this one ends."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._process.returncode = (
            0  # it outlives this process; the destructor of `Popen` would warn about that
        )


class Frozen:
    """Freezes the file systems of a running guest for a `with`, if its guest agent is connected and answers in time.

    `problem` is why they were not frozen all the time, None when they were. `warning` is empty, or states that the
    guest may be frozen still, since its agent does not answer; the host goes on trying. While they may be
    frozen, the marker file `mark` exists, with the text `lease`.
    """

    def __init__(
        self,
        domains: DomainDriver,
        name: str,
        new_thawer: Optional[Callable[[str], Thawer]] = None,
        mark: Optional[Path] = None,
        lease: str = "",
    ) -> None:
        self._domains = domains
        self._name = name
        self._new_thawer = new_thawer or partial(Thawer, mark=mark)
        self._mark, self._lease = mark, lease
        self._thawer: Optional[Thawer] = None
        self.problem: Optional[str] = _NOT_CONNECTED
        self.warning = ""

    def __enter__(self) -> Frozen:
        if not self._domains.has_agent(self._name):
            return self
        try:
            self._thawer = self._new_thawer(self._name)
        except ToolError as error:
            self.problem = str(error)
            return self
        if self._mark is not None:
            write_file(self._mark, self._lease)
        try:
            self.problem = self._domains.freeze(self._name)
        except NothingFrozenError as error:
            self.problem = str(error)
            self._domains.thaw(self._name)  # in case it has frozen some all the same
            self._dismiss(self._thawer)
            self._thawer = None
            return self
        except StateError as error:
            self.problem = str(error)  # an agent may freeze some file systems before it reports an error
        except BaseException:
            self._thaw()
            raise
        if self.problem is not None:
            self._thaw()  # an agent that was waited for in vain may freeze them later
        return self

    def __exit__(self, *_: object) -> None:
        self._thaw()

    def hold(self) -> None:
        """Leave it frozen after the `with`, until the marker file is removed, or for `thawer.LONGEST_SECONDS`."""
        if self._thawer is not None:
            self._thawer.hold()
            self._thawer = None

    def _dismiss(self, thawer: Thawer) -> None:
        remove_mark(self._mark)
        thawer.dismiss()

    def _thaw(self) -> None:
        thawer, self._thawer = self._thawer, None
        if thawer is None:
            return
        thawed = self._domains.thaw(self._name)
        if thawed is None:
            thawer.leave_to()
            self.warning = (
                f"the guest agent of {self._name} does not answer, so its file systems may be frozen for a while; this "
                f"host goes on thawing them for ten minutes, as `virsh domfsthaw {self._name}` does there"
            )
            self.problem = self.problem or "the guest agent has not reported that it thawed them"
            return
        self._dismiss(thawer)
        if thawed == 0:
            self.problem = self.problem or "they were thawed before the copy began"


# Guests with frozen file systems: frozen from one request to another, or perhaps still, after an unconfirmed thaw.


def freezing(host: Host, name: str, token: int) -> Frozen:
    """The freeze of a guest that runs under this lease, for a `with`; a marker file exists until it is thawed."""
    ensure_folder(Place.FROZEN.below(host.state_folder))
    return Frozen(host.domains(), name, mark=_mark(host, name), lease=str(token))


def freeze_guest(host: Host, operation: FreezeGuest) -> Change:
    """Freeze the file systems of a guest until `thaw_guest`, for 90 seconds at most. Its lock is held by the caller.

    StateError when they are not frozen: then or soon they are thawed.
    """
    name, token = operation.name, operation.token
    check_is_thawed(host, name, token)  # a command that was killed may have frozen it
    with freezing(host, name, token) as freeze:
        if freeze.problem is None:
            freeze.hold()
            return CHANGED
    raise StateError(" ".join([freeze.problem, *([freeze.warning] if freeze.warning else [])]))


def thaw_guest(host: Host, operation: ThawGuest) -> Change:
    """End a freeze of `freeze_guest`. StateError when the file systems were not frozen until now."""
    name, mark = operation.name, _mark(host, operation.name)
    try:
        was_marked = mark.read_text() == str(operation.token)
    except OSError:
        was_marked = False
    thawed = host.domains().thaw(name)  # whatever the marker file says
    if thawed is None:
        Thawer(name, mark).leave_to()  # the one that waits since the freeze begins after 90 seconds
        raise StateError(
            f"the guest agent of {name} does not answer; this host goes on thawing its file systems for ten minutes"
        )
    remove_mark(mark)
    if thawed == 0 or not was_marked:
        raise StateError(f"the file systems of {name} were thawed before: a freeze ends after 90 seconds")
    return CHANGED


def check_is_thawed(host: Host, name: str, token: int) -> None:
    """Thaw a guest that may be frozen still. StateError when its agent does not answer. Its lock is held by the caller.

    A saved or moved guest would stay frozen, since nothing thaws it there. The marker file of an earlier lease is that
    of a guest that has ended.
    """
    mark = _mark(host, name)
    try:
        lease = mark.read_text()
    except FileNotFoundError:
        return
    except OSError as error:
        raise HostError(f"whether {name} is frozen is not known: {explain(error, mark)}") from None
    if lease != str(token) or host.domains().thaw(name) is not None:
        remove_mark(mark)
        return
    raise StateError(
        f"the file systems of {name} may still be frozen: its guest agent has not confirmed the end of the freeze for "
        f"a snapshot. This host goes on thawing them for ten minutes; repeat the command when the guest agent answers "
        f"again (virsh domfsthaw {name}, on its host), or stop the machine: rocks stop host vm {name}"
    )


def _mark(host: Host, name: str) -> Path:
    return Place.FROZEN.below(host.state_folder) / name
