"""Many hosts simulated by one process: an SSH server whose agents answer with a real host's recorded facts.

    python -m bench.played_hosts ADDRESS PORT HOST_KEY AUTHORIZED_KEY RECORDED_REPLY ANSWER_MS

Sixty real hosts on one machine would measure its processors; simulated ones need little of them. A client with the
authorised key may start an agent, which answers each request after ANSWER_MS, or any other program, which ends at
once with exit status 0.
"""

from __future__ import annotations

import dataclasses
import logging
import socket
import sys
import threading
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import paramiko  # noqa: TID251 - a simulated SSH server
from paramiko.common import (  # noqa: TID251
    AUTH_FAILED,
    AUTH_SUCCESSFUL,
    OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED,
    OPEN_SUCCEEDED,
)

from rocks.core.errors import BugError
from rocks.fleet.wire.calls import read_reply, read_request, write_reply
from rocks.fleet.wire.facts import FactsRequest, HostFacts
from rocks.fleet.wire.requests import OperationOutcome, PerformReply, PerformRequest

logging.getLogger("paramiko").addHandler(logging.NullHandler())

READY = "playing"
RECORDED = FactsRequest(disks=("/var/lib/rocks-images/none.vda",))
"""The request whose reply from a real host is recorded: facts of one disk that does not exist."""
_AGENT = "rocks-agent"
_CHUNK_BYTES = 65536
_START_SECONDS = 0.05
"""Duration of the start of a program."""


class Player:
    """Answers requests as an idle host on which every operation succeeds."""

    def __init__(self, recorded: HostFacts, answer_seconds: float) -> None:
        """`recorded` has the fact of one disk that does not exist; all disks asked for are like it.

        A played host has VLANs and packet filters, whatever the recorded one has: it need not make any.
        """
        self._recorded = dataclasses.replace(recorded, has_8021q=True, has_filters=True)
        self._answer_seconds = answer_seconds

    def reply(self, line: bytes) -> bytes:
        """The reply line to a request line. BugError for a request that no start or stop makes."""
        request = read_request(line)
        time.sleep(self._answer_seconds)
        if isinstance(request, FactsRequest):
            return write_reply(self._facts(request))
        if isinstance(request, PerformRequest):
            return write_reply(
                PerformReply(
                    tuple(OperationOutcome(operation.name, True) for operation in request.operations)
                )
            )
        raise BugError(f"a played host knows no answer to {type(request).__name__}")

    def _facts(self, request: FactsRequest) -> HostFacts:
        like = self._recorded.disks[0]
        return dataclasses.replace(
            self._recorded,
            disks=tuple(dataclasses.replace(like, path=path) for path in request.disks),
            fenced=tuple(fence.name for fence in request.fences),
        )


class _Server(paramiko.ServerInterface):
    """Accepts one key and starts the requested program."""

    def __init__(self, authorized: str, player: Player) -> None:
        self._authorized = authorized
        self._player = player

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        known = f"{key.get_name()} {key.get_base64()}" == self._authorized
        return AUTH_SUCCESSFUL if known else AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        if kind == "session":
            return OPEN_SUCCEEDED
        return OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        line = command.decode("utf-8", "replace")
        echoed = line.split(";")[0].removeprefix("echo ") + "\n" if line.startswith("echo ") else ""
        work = partial(_serve, echoed.encode()) if _AGENT in line else _end_well
        # later: the reply "program started" is sent after this method returns, and must come first
        threading.Timer(_START_SECONDS, work, (channel, self._player)).start()
        return True


def _serve(echoed: bytes, channel: paramiko.Channel, player: Player) -> None:
    """As the shell and the agent that it starts: what it echoes first, then a reply to each request."""
    channel.sendall(echoed)
    waiting = b""
    while chunk := channel.recv(_CHUNK_BYTES):
        *lines, waiting = (waiting + chunk).split(b"\n")
        for line in lines:
            channel.sendall(player.reply(line))
    _end_well(channel, player)


def _end_well(channel: paramiko.Channel, player: Player) -> None:
    channel.send_exit_status(0)
    channel.close()


def _receive(connected: socket.socket, key: paramiko.PKey, server: _Server) -> None:
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    transport = paramiko.Transport(connected)
    transport.add_server_key(key)
    try:
        transport.start_server(server=server)
    except (paramiko.SSHException, EOFError, OSError):
        transport.close()


def main(arguments: Sequence[str]) -> None:
    """Play until a signal ends the process."""
    address, port, host_key, authorized_key, recorded_reply, answer_ms = arguments
    recorded = read_reply(Path(recorded_reply).read_bytes(), RECORDED)
    if not isinstance(recorded, HostFacts):
        raise BugError(f"{recorded_reply} holds no facts of a host: {recorded}")
    key = paramiko.Ed25519Key.from_private_key_file(host_key)
    authorized = " ".join(Path(authorized_key).read_text(encoding="ascii").split()[:2])
    server = _Server(authorized, Player(recorded, float(answer_ms) / 1000))
    listener = socket.create_server((address, int(port)), backlog=200)
    print(READY, flush=True)
    while True:
        connected, _ = listener.accept()
        threading.Thread(target=_receive, args=(connected, key, server), daemon=True).start()


if __name__ == "__main__":
    main(sys.argv[1:])
