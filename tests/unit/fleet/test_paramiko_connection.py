"""Errors of connections: what says that a host is off, and what is a fault of this machine."""

import errno
import os
import socket
from pathlib import Path

import pytest

from rocks.core.errors import RocksError
from rocks.fleet.connection import CannotAskError, FleetSettings, HostAddress
from rocks.fleet.fleet import Fleet
from rocks.fleet.paramiko_connection import load_private_key, start_transport
from rocks.inventory.host_requests import is_silent


@pytest.mark.parametrize(
    ("error", "silent", "message"),
    [
        (TimeoutError(), True, "did not answer within 5 s"),
        (OSError(errno.EHOSTUNREACH, os.strerror(errno.EHOSTUNREACH)), True, "cannot reach host vmh1"),
        (OSError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED)), True, "cannot reach host vmh1"),
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), False, "cannot connect to host vmh1 .*: ss -s$"),
        (
            PermissionError(errno.EPERM, "not permitted"),
            False,
            "this machine cannot connect to host vmh1 .*: not permitted; to see why: nft list ruleset$",
        ),
        (
            socket.gaierror(socket.EAI_AGAIN, "try again"),
            False,
            "no address of host vmh1 .* rocks add host interface vmh1 IFACE ip=IP subnet=private, "
            "or of a recorded interface: rocks set host interface ip vmh1 IFACE IP$",
        ),
    ],
    ids=str,
)
def test_what_counts_as_silence(
    monkeypatch: pytest.MonkeyPatch, error: OSError, silent: bool, message: str
) -> None:
    def connect(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(RocksError, match=message) as raised:
        start_transport(HostAddress("vmh1", "10.1.0.2"), FleetSettings())
    assert is_silent(raised.value) is silent
    assert isinstance(raised.value, CannotAskError) is not silent


def test_a_key_that_cannot_be_read_is_no_silence_of_hosts(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("spoilt")
    with pytest.raises(CannotAskError, match="this machine cannot read its SSH key in .*; restore the file"):
        load_private_key(str(tmp_path / "key"))


def test_a_machine_without_a_key_names_the_command_for_the_host(tmp_path: Path) -> None:
    """As a move asks it: the host is known."""
    settings = FleetSettings(key_file=str(tmp_path / "absent"), known_hosts_file=str(tmp_path / "known"))
    with pytest.raises(CannotAskError, match="run `rocks sync host sharedkey vmh1`, which makes one"):
        Fleet([HostAddress("vmh1", "127.0.0.1")], settings)._log_in(
            HostAddress("vmh1", "127.0.0.1"), settings
        )
