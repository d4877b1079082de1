"""Consoles of machines, the picture on a screen, the last lines of a serial line; and what removed machines leave."""

from __future__ import annotations

import base64
from pathlib import Path

from rocks.core.errors import HostError, StateError, UserError
from rocks.core.files import explain
from rocks.fleet.wire.consoles import (
    LARGEST_PICTURE_BYTES,
    PNG_BEGINNING,
    ConsoleLogFact,
    ConsoleLogRequest,
    ForgetMachinesRequest,
    RemovedFiles,
    ScreenFact,
    ScreenRequest,
    nvram_file,
)
from rocks.fleet.wire.facts import ConsoleFact, ConsoleRequest
from rocks.machine.host.console_logs import last_lines, remove_logs
from rocks.machine.host.files.owners import is_uuid
from rocks.machine.host.host import Host
from rocks.machine.host.libvirt.driver import is_active


def read_console(host: Host, request: ConsoleRequest) -> ConsoleFact:
    """The console of a running domain. StateError when the domain does not run."""
    _check_runs(host, request.name)
    return host.domains().console(request.name)


def read_screen(host: Host, request: ScreenRequest) -> ScreenFact:
    """The picture on the screen of a running domain. StateError without a screen, or for a picture that is too large.

    HostError when QEMU does not make PNGs, as versions before 7.1.
    """
    _check_runs(host, request.name)
    picture = host.domains().screenshot(request.name, LARGEST_PICTURE_BYTES)
    if len(picture) > LARGEST_PICTURE_BYTES:
        raise StateError(
            f"the picture of the screen of {request.name} has more than {LARGEST_PICTURE_BYTES} bytes; choose a "
            f"smaller resolution in the guest, or look at it: rocks open host console {request.name} type=vnc"
        )
    if not picture.startswith(PNG_BEGINNING):
        raise HostError("QEMU of this host does not make pictures in PNG; version 7.1 and later do")
    return ScreenFact(base64.b64encode(picture).decode("ascii"))


def read_console_log(host: Host, request: ConsoleLogRequest) -> ConsoleLogFact:
    """The last lines of a machine's console. UserError for what is no UUID."""
    _check_uuid(request.machine)
    return ConsoleLogFact(tuple(last_lines(request.machine, request.lines)))


def forget_machines(host: Host, request: ForgetMachinesRequest) -> RemovedFiles:
    """Remove the files that are named by removed machines. UserError for what is no UUID, HostError for a file."""
    removed = 0
    for machine in request.machines:
        _check_uuid(machine)
        removed += remove_logs(machine)
        path = Path(nvram_file(machine))
        try:
            path.unlink()
            removed += 1
        except FileNotFoundError:  # it had a BIOS
            continue
        except OSError as error:
            raise HostError(f"the variables of UEFI stay: {explain(error, path)}") from None
    return RemovedFiles(removed)


def _check_uuid(machine: str) -> None:
    if not is_uuid(machine):
        raise UserError(f"{machine[:80]!r} is not the UUID of a machine")


def _check_runs(host: Host, name: str) -> None:
    if not is_active(host.domains(), name):
        raise StateError(f"{name} does not run on this host, so it has no console")
