"""Open the serial or VNC console of a running machine."""

from __future__ import annotations

import os
import shutil
import socket
from typing import TYPE_CHECKING

from rocks import process
from rocks.actions.host_requests import ask_facts, fleet_addresses, open_fleet
from rocks.cluster.lease_plan import place_of
from rocks.database import leases
from rocks.database import vms as table
from rocks.errors import RocksError, StateError
from rocks.hosts.openssh import ssh_arguments
from rocks.hosts.settings import FleetSettings
from rocks.wire.facts import ConsoleFact, ConsoleRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from rocks.database.connection import Database
    from rocks.hosts.settings import HostAddress

LOCAL = "127.0.0.1"
VIEWERS = ("vncviewer", "xtigervncviewer", "remote-viewer", "gvncviewer")


def open_serial_console(database: Database, name: str) -> int:
    """Connect the terminal to the machine's serial console until the operator leaves it; returns the exit status."""
    address, _ = _find(database, name)
    virsh = ["virsh", "--quiet", "--connect", "qemu:///system", "console", "--force", name]
    if address.is_local:
        return process.run_interactively(virsh)
    return process.run_interactively([*ssh_arguments(address, FleetSettings(), ("-t",)), *virsh])


def open_vnc_console(database: Database, name: str, flags: list[str], notify: Callable[[str], None]) -> int:
    """Display the screen of the machine until the viewer ends; through an SSH tunnel when it is on another host.

    Without a viewer on this machine the address is reported, and the tunnel stays open until it is interrupted.
    """
    address, console = _find(database, name)
    if console.vnc_port is None:
        raise StateError(f"{name} has no VNC screen; use its serial console: rocks open host console {name}")
    viewer = next((path for program in VIEWERS if (path := shutil.which(program))), None)
    if not os.environ.get("DISPLAY"):
        viewer = None
    port = console.vnc_port if address.is_local else _free_port()
    target = f"{LOCAL}::{port}"
    if address.is_local:
        return _view(viewer, target, flags, notify)
    forward = (
        "-o",
        "ExitOnForwardFailure=yes",
        "-L",
        f"{LOCAL}:{port}:{console.vnc_address}:{console.vnc_port}",
    )
    if viewer is None:
        notify(f"the screen of {name} is at {LOCAL}, port {port}, until you press Ctrl-C")
        return process.run_interactively(ssh_arguments(address, FleetSettings(), (*forward, "-N")))
    # -f returns when the tunnel is open; the tunnel ends when the viewer has closed its connection.
    tunnel = ssh_arguments(address, FleetSettings(), (*forward, "-f"))
    process.run_checked([*tunnel, "sleep", "10"], deadline_seconds=30)
    return _view(viewer, target, flags, notify)


def _view(viewer: str | None, target: str, flags: list[str], notify: Callable[[str], None]) -> int:
    if viewer is None:
        notify(
            f"the screen is at {target.replace('::', ', port ')}; this machine has no VNC viewer or no display"
        )
        return 0
    return process.run_interactively([viewer, *flags, target])


def _find(database: Database, name: str) -> tuple[HostAddress, ConsoleFact]:
    vm = table.load_vms(database, [name])[0]
    place = place_of(vm, leases.read_leases(database, [name]).get(name.lower()))
    if place is None:
        raise StateError(f"host {name} does not have a physical host, so it has no console")
    with open_fleet(database, [place]) as fleet:
        facts = ask_facts(database, fleet, [place])[place]
        if isinstance(facts, RocksError):
            raise facts
        answer = next(reply for _, reply in fleet.ask_each({place: ConsoleRequest(name)}))
    if isinstance(answer, RocksError):
        raise answer
    return fleet_addresses(database, [place])[0], answer


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOCAL, 0))
        port: int = probe.getsockname()[1]
        return port
