"""The bytes of a machine's console, for a program that relays them: no terminal and no viewer."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from rocks.core import process
from rocks.core.clock import Deadline
from rocks.core.errors import HostError, UserError
from rocks.fleet.relay import relay_descriptors
from rocks.machine.consoles.consoles import check_root, find_console, serial_arguments, way_to_screen

if TYPE_CHECKING:
    from rocks.database.connection import Database
    from rocks.fleet.settings import HostAddress
    from rocks.fleet.wire.facts import ConsoleFact

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
