"""The port that leads to a screen."""

import contextlib
import socket
from pathlib import Path

from rocks.fleet.tunnel import relayed
from tests.patience import patience


def test_local_users_open_few_ways_to_a_screen(tmp_path: Path) -> None:
    """Each takes two threads; the connection of one too many ends."""
    path = str(tmp_path / "screen")
    with socket.socket(socket.AF_UNIX) as screen, relayed(path) as port, contextlib.ExitStack() as opened:
        screen.bind(path)
        screen.listen()
        screen.settimeout(patience(10))
        for number in range(8):
            client = opened.enter_context(socket.create_connection(("127.0.0.1", port), patience(10)))
            far = opened.enter_context(screen.accept()[0])
            far.sendall(b"RFB %d" % number)
            assert client.recv(16) == b"RFB %d" % number
        with socket.create_connection(("127.0.0.1", port), patience(10)) as ninth:
            assert ninth.recv(16) == b""
