"""`comet console`: an address for the browser, or the serial console in this terminal; Ctrl-] leaves it."""

from __future__ import annotations

import math
import os
import select
import sys
import time
from typing import TYPE_CHECKING, Any

from comet.cli.context import Context, locate, signals_as_interrupts
from comet.cli.output import show
from comet.client.errors import TICKET_USED, RefusedError

if TYPE_CHECKING:
    from comet.client.websocket import WebSocket

_ESCAPE = b"\x1d"
_SILENT_SECONDS, _OPENING_SECONDS = 10.0, 60.0
"""After the end of a file, so long a silence of the guest ends the console; the second one before its first bytes: the
site answers at once, and opens the console then."""


def console(context: Context) -> int:
    given = context.arguments
    locate(context, "node")
    if context.option("serial"):
        return _attach(context)
    found = context.client.console(given.cluster, given.node)
    show(found.page_url)
    if not context.option("link"):
        import webbrowser

        if not webbrowser.open(found.page_url):
            context.say("no browser could be started: open the address above, within 30 s")
    return 0


def _attach(context: Context) -> int:
    """Until the guest's console closes, Ctrl-], or silence after the end of a file.

    The terminal is as before afterwards.
    """
    try:
        web_socket = _open(context)
    except RefusedError as error:
        if error.slug != TICKET_USED:
            raise
        web_socket = _open(context)  # the first ticket came too late, or the answer to its use was lost
    context.say("connected; Ctrl-] leaves the console")
    with signals_as_interrupts():
        saved = _raw()
        try:
            is_left = _copy(web_socket)
        except KeyboardInterrupt:
            raise KeyboardInterrupt("the console is left") from None
        finally:
            if saved is not None:
                import termios

                termios.tcsetattr(sys.stdin.fileno(), termios.TCSADRAIN, saved)
            web_socket.close()
    given = context.arguments
    closed = (
        f"the site has closed the console of {given.node or given.cluster}: it is off, the console was opened "
        "elsewhere, its longest time is over, or your token has ended. If it is on (comet cluster "
        f"{given.cluster}), run the command again"
    )
    context.say(f"\n{'the console is left' if is_left else closed}")
    return 0


def _open(context: Context) -> WebSocket:
    from comet.client.websocket import WebSocket

    given, client = context.arguments, context.client
    found = client.console(given.cluster, given.node, "serial")
    return WebSocket(client.connection, found.websocket_path)


def _raw() -> Any:
    """Put a terminal into raw mode; what it was, or None for something else."""
    if not sys.stdin.isatty():
        return None
    import termios
    import tty

    saved = termios.tcgetattr(sys.stdin.fileno())
    tty.setraw(sys.stdin.fileno())
    return saved


def _copy(web_socket: WebSocket) -> bool:
    """Until one end closes; whether it was this one."""
    terminal, output = sys.stdin.fileno(), sys.stdout.fileno()
    sources = [terminal, web_socket.socket]
    end, first = math.inf, web_socket.received()
    silent_seconds = _SILENT_SECONDS if first else _OPENING_SECONDS
    _write(output, first)
    while not web_socket.is_closed:
        pending = getattr(web_socket.socket, "pending", int)()
        left = None if end == math.inf else max(0.0, end - time.monotonic())
        ready = [web_socket.socket] if pending else select.select(sources, [], [], left)[0]
        if web_socket.socket in ready:
            printed = web_socket.receive()
            _write(output, printed)
            if printed:
                silent_seconds = _SILENT_SECONDS
                end = end if left is None else time.monotonic() + silent_seconds
        if time.monotonic() >= end:
            return True
        if terminal in ready and not web_socket.is_closed:
            typed = os.read(terminal, 4096)
            before, escape, _ = typed.partition(_ESCAPE)
            if before:
                web_socket.send(before)
            if escape:
                return True
            if not typed:
                sources.remove(terminal)  # a file's end: the answers are still shown
                end = time.monotonic() + silent_seconds
    return False


def _write(output: int, data: bytes) -> None:
    while data:
        data = data[os.write(output, data) :]
