"""Guests with frozen file systems: frozen from one request to another, or perhaps still, after an unconfirmed thaw."""

from __future__ import annotations

from pathlib import Path

from rocks.core.errors import HostError, StateError
from rocks.core.files import explain
from rocks.fleet.host.change import CHANGED, Change
from rocks.fleet.host.state_folder import Place, ensure_folder
from rocks.fleet.wire.requests import FreezeGuest, ThawGuest
from rocks.machine.host.host import Host
from rocks.machine.host.libvirt.freezing import Frozen, Thawer, remove_mark


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
