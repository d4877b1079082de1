"""Open the serial or VNC console of a running machine. Nothing on its way listens on TCP (decision 33)."""

from __future__ import annotations

import os
import re
import shutil
from contextlib import ExitStack
from typing import TYPE_CHECKING

from rocks.core import process
from rocks.core.errors import HostError, RocksError, StateError, UserError
from rocks.core.version import is_packaged
from rocks.fleet.openssh import ssh_arguments
from rocks.fleet.settings import FleetSettings
from rocks.fleet.tunnel import open_tunnel
from rocks.fleet.wire.consoles import ConsoleLogRequest
from rocks.fleet.wire.domain_states import ACTIVE_STATES
from rocks.fleet.wire.facts import ConsoleFact, ConsoleRequest
from rocks.inventory.address_records import host_addresses
from rocks.inventory.host_requests import open_fleet
from rocks.leases import lease as leases
from rocks.leases.machine_requests import contact_hosts
from rocks.leases.plan import place_of
from rocks.machine import record as table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rocks.database.connection import Database
    from rocks.fleet.settings import HostAddress
    from rocks.fleet.wire.facts import HostFacts
    from rocks.fleet.wire.request import Reply, Request
    from rocks.inventory.records import VirtualMachine

VIEWERS = ("xtigervncviewer", "vncviewer")
"""TigerVNC's viewer, by Debian's name and by its own: it connects to unix sockets."""

RUNTIME_FOLDER = os.environ.get("RUNTIME_DIRECTORY", "/run")
"""systemd names the folder of a service, which can write to no other one of /run."""

_PATH = re.compile(r"/[^\s:\\]{1,200}")


def open_serial_console(database: Database, name: str, notify: Callable[[str], None]) -> int:
    """Connect the terminal to the machine's serial console until the operator leaves it; returns the exit status.

    UserError without a terminal.
    """
    check_root(name)
    address, _ = find_console(database, name)
    if not os.isatty(0):
        raise UserError("the serial console needs a terminal (ssh -t); for a program: stream=yes")
    notify(f"serial console of {name}; press Ctrl-] to leave it")
    if is_packaged():  # a checkout's demo has a machine of its own, which no other reaches
        notify(f"from another machine: ssh -t root@{os.uname().nodename} rocks open host console {name}")
    return process.run_interactively(serial_arguments(address, name))


def serial_arguments(
    address: HostAddress, name: str, options: tuple[str, ...] = (), is_quiet: bool = True
) -> list[str]:
    """The program that connects a terminal to the serial console of a machine on that host; `options` are of ssh."""
    quiet = ["--quiet"] * is_quiet
    virsh = ["virsh", *quiet, "--connect", "qemu:///system", "console", "--force", name]
    if address.is_local:
        return virsh
    return [*ssh_arguments(address, FleetSettings(), ("-t", *options)), *virsh]


def open_vnc_console(
    database: Database, name: str, flags: Sequence[str], notify: Callable[[str], None]
) -> int:
    """Display the screen of the machine until the viewer ends; returns its exit status.

    The screen of another host comes over SSH to a unix socket of this machine that only this user reaches. Without a
    viewer or a display the socket is reported, and stays until an interrupt.
    """
    check_root(name)
    viewer = find_viewer(os.environ)
    address, console = find_console(database, name)
    with ExitStack() as open_ways:
        target, wait = way_to_screen(open_ways, name, address, console)
        if viewer is not None:
            return process.run_interactively([viewer, *flags, target])
        notify(
            f"the screen of {name} is at {_describe_place(name, target)}{', until you press Ctrl-C' if wait else ''}"
        )
        if wait is not None:
            wait()
    return 0


def find_viewer(environment: Mapping[str, str]) -> str | None:
    """TigerVNC's viewer on this machine; None without it or a display."""
    if not environment.get("DISPLAY"):
        return None
    from pathlib import Path  # late: a listing of states imports this module

    found = [path for name in VIEWERS if (path := shutil.which(name))]
    # Debian's name `vncviewer` is a link to the viewer that is installed; others do not connect to unix sockets
    return next((path for path in found if Path(path).resolve().name in VIEWERS), None)


def warn_of_listeners(
    listeners: Mapping[str, tuple[str, Sequence[str]]], notify: Callable[[str], None]
) -> None:
    """A line for each machine that listens on the network of its host: machine → (host, its listeners)."""
    for name, (host, places) in listeners.items():
        if places:
            notify(
                f"Warning: {name} listens on {host} ({', '.join(places)}), where every user of {host} reaches it; "
                f"XML of the site opened that: rocks report host vm config {name}. When it is removed, stop {name} "
                "and start it"
            )


def way_to_screen(
    open_ways: ExitStack, name: str, address: HostAddress, console: ConsoleFact
) -> tuple[str, Callable[[], object] | None]:
    """The screen's socket on this machine, and what waits for the end of the way to it, if it has one."""
    socket = _socket(name, address, console)
    if address.is_local:
        return socket, None
    tunnel = open_ways.enter_context(open_tunnel(address, socket, RUNTIME_FOLDER))
    return tunnel.path, tunnel.wait


def _socket(name: str, address: HostAddress, console: ConsoleFact) -> str:
    """The screen's socket on its host, for ssh. HostError when the host reports something else than a path."""
    if console.vnc_socket is None:
        raise StateError(
            f"{name} has no VNC screen on a unix socket; use its serial console: rocks open host console {name}"
        )
    if not _PATH.fullmatch(console.vnc_socket):
        raise HostError(f"{address.name} reports no valid place of the screen of {name}")
    return console.vnc_socket


def _describe_place(name: str, target: str) -> str:
    """Where the screen is, and how a viewer on another machine gets there."""
    return (
        f"{target}; from another machine: ssh -N -L ~/{name}.sock:{target} root@{os.uname().nodename}, and there: "
        f"{VIEWERS[0]} ~/{name}.sock"
    )


def check_root(name: str) -> None:
    """UserError for another user than root, who reaches no console."""
    if os.geteuid() != 0:
        raise UserError(
            f"only root reaches the consoles of virtual machines: sudo rocks open host console {name}"
        )


def _runs(facts: HostFacts, name: str) -> bool:
    return any(
        domain.name.lower() == name.lower() and domain.state in ACTIVE_STATES for domain in facts.domains
    )


def find_console(database: Database, name: str) -> tuple[HostAddress, ConsoleFact]:
    """The host on which a machine runs, and its console there. StateError when it does not run."""
    place, answer = ask_running(database, name, ConsoleRequest(name))
    address = host_addresses(database, [place])[0]
    database.end_reading()  # a console stays open for hours
    return address, answer


def ask_running(database: Database, name: str, request: Request[Reply]) -> tuple[str, Reply]:
    """The host on which a machine runs, and its reply. StateError when it does not run."""
    place = _place(database, table.load_vms(database, [name])[0])
    with open_fleet(database, [place]) as fleet:
        facts = contact_hosts(database, fleet, [place])[place]
        if isinstance(facts, RocksError):
            raise facts
        if not _runs(facts, name):
            raise StateError(f"{name} does not run; start it: rocks start host vm {name}")
        answer = next(reply for _, reply in fleet.ask_each({place: request}))
    if isinstance(answer, RocksError):
        raise answer
    return place, answer


def read_console_log(database: Database, name: str, lines: int) -> tuple[str, ...]:
    """The last lines of the machine's serial console, which its host keeps, also while it is off.

    It is empty when nothing was written on the host where it runs, or would be started.
    """
    vm = table.load_vms(database, [name])[0]
    place = _place(database, vm)
    with open_fleet(database, [place]) as fleet:
        answer = next(reply for _, reply in fleet.ask_each({place: ConsoleLogRequest(vm.uuid, lines)}))
    if isinstance(answer, RocksError):
        raise answer
    return answer.lines


def _place(database: Database, vm: VirtualMachine) -> str:
    place = place_of(vm, leases.read_leases(database, [vm.name]).get(vm.name.lower()))
    if place is None:
        raise StateError(
            f"host {vm.name} does not have a physical host, so it has no console; give it one: rocks set host vm "
            f"{vm.name} physnode=HOST"
        )
    return place
