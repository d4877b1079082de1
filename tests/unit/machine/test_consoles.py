"""What a guest has written to its console, as it reaches the operator's terminal; how a viewer gets to a screen."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import tty
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rocks.fleet.connection import HostAddress
from rocks.machine import consoles
from rocks.machine.consoles import _describe_place, find_viewer, plain_line


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("plain", "plain"),
        ("\x1b[0;32m  OK  \x1b[0m] Started", "  OK  ] Started"),
        ("\x1b]0;title\x07login:\r", "login:"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b(B\x1b)0text\x1bc", "text"),
        ("\x1bPq#0\x1b\\", "q#0"),
        ("a\x00b\x9b31m", "a\\x00b\\x9b31m"),
        ("\x1b", "\\x1b"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("a\tb", "a       b"),
    ],
)
def test_control_sequences_are_left_out_and_the_rest_is_visible(line: str, text: str) -> None:
    assert plain_line(line) == text


@pytest.mark.slow
@pytest.mark.parametrize("piece", ["\x1b]", "\x1b[1", "\x1b[", "\x1b(", "\x1b"])
def test_a_long_line_that_is_nothing_but_beginnings_comes_to_its_end(piece: str) -> None:
    assert "\x1b" not in plain_line(piece * 300_000)


def test_a_screen_on_a_socket_opens_no_port_anywhere() -> None:
    place = _describe_place("web", "/run/rocks/vnc.sock")
    assert "ssh -N -L ~/web.sock:/run/rocks/vnc.sock root@" in place
    assert place.endswith("and there: xtigervncviewer ~/web.sock")
    assert "5900" not in place and "localhost" not in place


@pytest.mark.parametrize("packaged", [True, False])
def test_the_way_from_another_machine_is_named_only_where_packages_make_one(
    packaged: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkout's demo has a network of its own, and no other machine reaches its name."""
    here = HostAddress("head", "", is_local=True)
    lines: list[str] = []
    database: Any = None
    monkeypatch.setattr(consoles, "check_root", lambda name: None)
    monkeypatch.setattr(consoles, "find_console", lambda database, name: (here, None))
    monkeypatch.setattr("os.isatty", lambda number: True)
    monkeypatch.setattr("rocks.core.process.run_interactively", lambda arguments: 0)
    monkeypatch.setattr(consoles, "is_packaged", lambda: packaged)
    assert consoles.open_serial_console(database, "web", lines.append) == 0
    assert lines[0] == "serial console of web; press Ctrl-] to leave it"
    ways = [f"from another machine: ssh -t root@{os.uname().nodename} rocks open host console web"]
    assert lines[1:] == (ways if packaged else [])


def test_only_a_viewer_of_unix_sockets_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Debian's `vncviewer` may be a link to another one."""
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("xtightvncviewer", "gvncviewer"):
        (tmp_path / name).touch(mode=0o755)
    link = tmp_path / "vncviewer"
    link.symlink_to("xtightvncviewer")
    assert find_viewer({"DISPLAY": ":0"}) is None
    (tmp_path / "xtigervncviewer").touch(mode=0o755)
    link.unlink()
    link.symlink_to("xtigervncviewer")
    assert find_viewer({"DISPLAY": ":0"}) == str(tmp_path / "xtigervncviewer")
    assert find_viewer({}) is None


# What is awaited before a program gets a machine's serial line.


@pytest.fixture
def flood() -> Iterator[int]:
    """A terminal whose far end prints, without an end of line, for two seconds."""
    terminal, far_end = os.openpty()
    tty.setraw(far_end)
    end = time.monotonic() + 2

    def write() -> None:
        with contextlib.suppress(OSError):
            while time.monotonic() < end:
                os.write(far_end, b"x" * 512)
        os.close(far_end)

    writer = threading.Thread(target=write)
    writer.start()
    yield terminal
    os.close(terminal)
    writer.join()


def test_a_host_that_prints_no_lines_does_not_hold_who_waits(
    flood: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consoles, "_LINES_SECONDS", 0.2)
    monkeypatch.setattr(consoles, "_DISCARD_SECONDS", 0.0)
    began = time.monotonic()
    consoles._wait_for_virsh(flood)
    assert time.monotonic() - began < 1
