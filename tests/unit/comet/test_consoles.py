"""The serial console: bytes both ways through a WebSocket, and what a hostile server sends instead."""

import base64
import contextlib
import hashlib
import io
import json
import os
import subprocess  # noqa: TID251 - for its constant
import sys
import termios
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from comet import Client, NotFoundError, UnreachableError
from comet.client.configuration import Endpoint
from comet.client.websocket import WebSocket
from tests.nucleus_server import TOKEN, NucleusServer, answer, problem
from tests.patience import patience
from tests.terminals import on_terminal
from tests.unit.comet.test_program import SOURCE, start
from tests.waiting import wait_until

PATH = "/nucleus/ws/console/ticket"


def frame(content: bytes, opcode: int = 2) -> bytes:
    """A frame of a server."""
    size = bytes([len(content)]) if len(content) < 126 else b"\x7e" + len(content).to_bytes(2, "big")
    return bytes([0x80 | opcode]) + size + content


def read_frame(stream: io.BufferedIOBase) -> tuple[int, bytes]:
    """(opcode, content) of a masked frame."""
    head = stream.read(2)
    size = head[1] & 0x7F
    if size == 126:
        size = int.from_bytes(stream.read(2), "big")
    mask, content = stream.read(4), stream.read(size)
    return head[0] & 15, bytes(it ^ mask[index % 4] for index, it in enumerate(content))


def upgrade(handler: Any, first: bytes = b"") -> None:
    """Answer the handshake, with what the guest prints at once."""
    key = handler.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    handler.send_response(101)
    handler.send_header("Upgrade", "websocket")
    handler.send_header("Connection", "Upgrade")
    handler.send_header(
        "Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
    )
    handler._headers_buffer.append(b"\r\n" + first)
    handler.flush_headers()
    handler.close_connection = True


def serve_console(server: NucleusServer, guest: Callable[[Any], None]) -> None:
    """Have the server offer a serial console, behind which the guest is."""
    addresses = {"page_url": f"{server.url}/x", "ws_url": f"ws://elsewhere.example{PATH}", "expires_at": ""}
    server.answers["/frontend/console"] = answer(201, json.dumps(addresses).encode())
    server.answers["/ws/console"] = guest


def until_its_end(handler: BaseHTTPRequestHandler) -> None:
    """A guest that prints nothing, and reads until the console is left."""
    upgrade(handler)
    while read_frame(handler.rfile)[0] != 8:
        pass


def test_a_terminal_gets_what_the_guest_prints(
    server: NucleusServer, configured: Path, tmp_path: Path
) -> None:
    typed: list[bytes] = []

    def guest(handler: BaseHTTPRequestHandler) -> None:
        upgrade(handler)
        handler.wfile.write(frame(b"login: ") + frame(b"?", 9))
        while True:
            opcode, content = read_frame(handler.rfile)
            if opcode == 10:
                assert content == b"?"
                continue
            typed.append(content)
            if opcode == 8:
                return
            whole = frame(b"x" * 300 + b"\r\n")
            handler.wfile.write(whole[:1])
            handler.wfile.write(whole[1:] + frame(b"", 8))

    page = f"{server.url}/console/serial/ticket"
    addresses = {"page_url": page, "ws_url": f"ws://elsewhere.example{PATH}", "expires_at": ""}
    server.answers["/frontend/console"] = answer(201, json.dumps(addresses).encode())
    server.answers["/ws/console"] = guest
    keys = tmp_path / "keys"
    keys.write_bytes(b"root\n")
    with keys.open() as file:
        process = start("console", "--serial", "vc2", stdin=file)
        out, error = process.communicate(timeout=60)
    assert process.returncode == 0, error
    assert out == "login: " + "x" * 300 + "\n"
    assert typed[0] == b"root\n"
    assert "Ctrl-]" in error


def test_the_escape_leaves_the_console(server: NucleusServer, configured: Path) -> None:
    serve_console(server, until_its_end)
    process = start("console", "--serial", "vc2", stdin=subprocess.PIPE)
    process.stdin.write("ls\x1d")
    process.stdin.flush()
    process.communicate(timeout=60)
    assert process.returncode == 0


@pytest.mark.slow
def test_a_silent_console_ends_after_the_end_of_its_input(server: NucleusServer, configured: Path) -> None:
    """The service's pings are no answer of the guest."""

    def guest(handler: BaseHTTPRequestHandler) -> None:
        upgrade(handler, frame(b"login: "))
        handler.connection.settimeout(1)
        while True:
            handler.wfile.write(frame(b"?", 9))
            with contextlib.suppress(TimeoutError):
                if read_frame(handler.rfile)[0] == 8:
                    return
            time.sleep(0.1)

    serve_console(server, guest)
    less = f"from comet.cli import consoles, main; consoles._SILENT_SECONDS = {patience(2)}; main.program()"
    process = start("console", "--serial", "vc2", program=("-c", less), stdin=subprocess.DEVNULL)
    out, error = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "login: ")
    assert "the console is left" in error


@pytest.mark.slow
def test_the_first_answer_of_a_console_may_come_late(server: NucleusServer, configured: Path) -> None:
    """The service opens the console on its host after it has answered."""

    def guest(handler: BaseHTTPRequestHandler) -> None:
        upgrade(handler)
        assert read_frame(handler.rfile) == (2, b"root\n")
        time.sleep(patience(1))
        handler.wfile.write(frame(b"Password: "))
        while read_frame(handler.rfile)[0] != 8:
            pass

    serve_console(server, guest)
    less = "from comet.cli import consoles, main; consoles._SILENT_SECONDS = 0.2; main.program()"
    process = start("console", "--serial", "vc2", program=("-c", less), stdin=subprocess.PIPE)
    out, error = process.communicate("root\n", timeout=60)
    assert (process.returncode, out) == (0, "Password: "), error


@pytest.mark.parametrize(("refusals", "status"), [(1, 0), (2, 5)])
def test_a_ticket_that_was_used_is_replaced_by_another_one_once(
    server: NucleusServer, configured: Path, refusals: int, status: int
) -> None:
    opened: list[str] = []

    def guest(handler: Any) -> None:
        opened.append(handler.headers["Accept"])
        if len(opened) <= refusals:
            handler.reply(*problem("ticket-used", 403, "the ticket was used"))
            return
        upgrade(handler, frame(b"login: ") + frame(b"", 8))

    server.answers["/ws/console"] = guest
    process = start("console", "--serial", "vc2", stdin=subprocess.PIPE)
    out, error = process.communicate(timeout=60)
    assert process.returncode == status, error
    tickets = [path for method, path, _, _ in server.requests if method == "POST"]
    assert len(tickets) == len(opened) == 2 and "application/problem+json" in opened[0]
    assert out == ("login: " if status == 0 else "")
    if status:
        assert error == "the ticket of this console was used, or is older than 30 s: run the command again\n"


def test_a_console_too_many_is_refused_with_the_reason_of_the_site(
    server: NucleusServer, configured: Path
) -> None:
    """No second ticket is asked for."""
    reason = "you have 8 consoles; end one first, or wait"

    def refuse(handler: Any) -> None:
        handler.reply(*problem("rate-limited", 429, reason))

    server.answers["/ws/console"] = refuse
    process = start("console", "--serial", "vc2", stdin=subprocess.PIPE)
    out, error = process.communicate(timeout=60)
    assert (process.returncode, out, error) == (5, "", f"{reason}\n")
    assert [method for method, _, _, _ in server.requests].count("POST") == 1


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", NotFoundError),
        (b"HTTP/1.1 101 x\r\nSec-WebSocket-Accept: wrong\r\n\r\n", UnreachableError),
        (b"x" * 200_000, UnreachableError),
        (b"", UnreachableError),
    ],
)
def test_a_handshake_that_is_none_is_refused(
    server: NucleusServer, reply: bytes, error: type[Exception]
) -> None:
    def lie(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(reply)
        handler.close_connection = True

    server.answers["/ws/console"] = lie
    with Client(Endpoint("dev", server.url, "ann", TOKEN)) as client, pytest.raises(error):
        WebSocket(client.connection, PATH)


@pytest.mark.parametrize("sent", [b"\x82\x7f" + b"\xff" * 8, b"\x82\x85abcde", b"\x82"])
def test_frames_that_are_none_end_the_console(server: NucleusServer, sent: bytes) -> None:
    def lie(handler: BaseHTTPRequestHandler) -> None:
        upgrade(handler)
        handler.wfile.write(sent)

    server.answers["/ws/console"] = lie
    with Client(Endpoint("dev", server.url, "ann", TOKEN)) as client:
        web_socket = WebSocket(client.connection, PATH)
        with pytest.raises(UnreachableError):
            while True:
                web_socket.receive()


def test_a_console_that_is_ended_leaves_the_terminal_as_it_was(
    server: NucleusServer, configured: Path
) -> None:
    serve_console(server, until_its_end)
    typed = [sys.executable, "-m", "comet", "console", "--serial", "vc2"]
    with on_terminal(typed, {**os.environ, "PYTHONPATH": str(SOURCE)}) as terminal:

        def has_lines() -> bool:
            return bool(termios.tcgetattr(terminal._end)[3] & termios.ICANON)

        terminal.read_until("leaves the console")
        wait_until(lambda: not has_lines(), "the terminal is not raw")
        terminal.process.terminate()
        assert terminal.rest()[0] == 130
        assert has_lines()
