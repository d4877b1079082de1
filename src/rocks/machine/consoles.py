"""Serial and VNC consoles of running machines. Nothing on their way listens on TCP (decision 33)."""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import re
import select
import shutil
import socket
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from rocks.core import process
from rocks.core.clock import Deadline
from rocks.core.errors import HostError, RocksError, StateError, UserError
from rocks.core.files import write_file
from rocks.core.terminal import one_line
from rocks.core.version import is_packaged
from rocks.fleet.connection import FleetSettings
from rocks.fleet.openssh import ssh_arguments
from rocks.fleet.relay import relay_descriptors
from rocks.fleet.tunnel import open_tunnel
from rocks.fleet.wire.facts import ACTIVE_STATES, ConsoleFact, ConsoleRequest
from rocks.fleet.wire.requests import LARGEST_PICTURE_BYTES, PNG_BEGINNING, ConsoleLogRequest, ScreenRequest
from rocks.inventory.address_records import host_addresses
from rocks.inventory.host_requests import open_fleet
from rocks.leases import lease as leases
from rocks.leases.machine_requests import contact_hosts
from rocks.leases.plan import place_of
from rocks.machine import record as table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rocks.database.connection import Database
    from rocks.fleet.connection import HostAddress
    from rocks.fleet.wire.codec import Reply, Request
    from rocks.fleet.wire.facts import HostFacts
    from rocks.inventory.records import VirtualMachine


# Open the serial or VNC console of a running machine. Nothing on its way listens on TCP (decision 33).

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


# The bytes of a machine's console, for a program that relays them: no terminal and no viewer.

_NO_ESCAPES = ("-o", "EscapeChar=none", "-o", "EnableEscapeCommandline=no")
"""ssh obeys escapes in what is typed on a terminal; `~C` opens ports of this machine."""

_FIRST_LINES = 2
"""What virsh 9.0 prints first: the name of the machine, and the key that ends the connection."""

_LINES_SECONDS = 30.0
_DISCARD_SECONDS = 0.5


def stream_console(database: Database, name: str, is_serial: bool) -> None:
    """Relay the bytes of the console between it and standard input and output, until one end closes.

    The serial line ends with Ctrl-] as well, the byte 0x1d. The screen speaks RFB (RFC 6143). UserError for a terminal
    or another user than root, StateError for a machine that does not run or has no such console, HostError.
    """
    check_root(name)
    if os.isatty(0):
        raise UserError(
            "stream=yes relays the bytes of the console over standard input and output, for a program, not for a "
            f"terminal: rocks open host console {name}"
        )
    with ExitStack() as opened:
        address, console = find_console(database, name)
        database.close()
        relay_descriptors(0, 1, connect_console(opened, name, address, console, is_serial))


def connect_console(
    opened: ExitStack, name: str, address: HostAddress, console: ConsoleFact, is_serial: bool
) -> int:
    """A descriptor to read and write the console; closed, like the way to it, with `opened`. HostError, StateError."""
    if is_serial:
        program, descriptor = process.start_on_terminal(
            serial_arguments(address, name, _NO_ESCAPES, is_quiet=False)
        )
        opened.callback(_close, descriptor)
        opened.callback(process.end_group, program)
        _wait_for_virsh(descriptor)
        return descriptor
    target, _ = way_to_screen(opened, name, address, console)
    screen = opened.enter_context(socket.socket(socket.AF_UNIX))
    try:
        screen.connect(target)
    except OSError as error:
        raise HostError(f"the screen of {name} at {target} does not answer: {error.strerror}") from None
    return screen.fileno()


def _wait_for_virsh(terminal: int) -> None:
    """Until virsh reads what is typed.

    It discards what was typed before (tcsetattr with TCSAFLUSH), at once after its first lines: a program that sends a
    line and waits for the answer would wait in vain. A virsh that prints nothing has ended, or hangs: the caller sees.
    """
    lines, deadline, poller = 0, Deadline(_LINES_SECONDS), select.poll()
    poller.register(terminal, select.POLLIN)
    with contextlib.suppress(OSError):
        while lines < _FIRST_LINES and (left := deadline.remaining_seconds()) and poller.poll(left * 1000):
            lines += os.read(terminal, 1) == b"\n"
    time.sleep(_DISCARD_SECONDS)


def _close(descriptor: int) -> None:
    with contextlib.suppress(OSError):
        os.close(descriptor)


# Pictures of the screens of running machines, and the text of serial consoles made fit for a terminal.

_SEQUENCE = re.compile(
    r"\x1b(?:\[[0-?]{0,64}[ -/]{0,8}[@-~]|\][^\x07\x1b]{0,512}(?:\x07|\x1b\\)|[ -/]{1,4}[0-~]|[0-Z\\-~])"
)
"""A control sequence of a terminal: of colours and the cursor, a title, a character set, or one letter."""


def take_picture(database: Database, name: str, file: Path | None) -> None:
    """Write a picture of the machine's screen, a PNG, to the file, or to standard output.

    The file is only root's: passwords may be on a screen. StateError when the machine does not run or has no screen,
    UserError for a terminal as standard output, HostError for a file that cannot be written.
    """
    if file is None and (sys.stdout is None or sys.stdout.isatty()):
        raise UserError(
            f"a picture is not for a terminal: rocks report host vm screen {name} file={name}.png"
        )
    place, answer = ask_running(database, name, ScreenRequest(name))
    database.end_reading()
    try:
        picture = base64.b64decode(answer.png, validate=True)
    except (binascii.Error, ValueError):
        picture = b""
    if not picture.startswith(PNG_BEGINNING) or len(picture) > LARGEST_PICTURE_BYTES:
        raise HostError(f"{place} has not sent a picture of the screen of {name}")
    if file is not None:
        write_file(file, picture)
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(picture)
        sys.stdout.buffer.flush()


def plain_line(line: str) -> str:
    """The text of a line that was meant for a terminal, without its control sequences; what is left is made visible."""
    return one_line(_SEQUENCE.sub("", line).replace("\r", "").expandtabs())
