"""The keys between this machine and a host behind a real sshd."""

import os
import stat
from pathlib import Path

import pytest

from lab.namespace import Machine
from lab.sshd import SshServer
from rocks.core.errors import HostError
from rocks.core.process import run_checked
from rocks.fleet.connection import DownError, FleetSettings, HostAddress
from rocks.fleet.first_contact import (
    accepts_own_key,
    ensure_own_key,
    fetch_host_key,
    install_own_key,
    known_host_keys,
)
from rocks.fleet.known_hosts import parse_host_key, record_host_keys
from tests.contract.outcomes import refused
from tests.patience import patience


def test_our_key_is_made_once(tmp_path: Path) -> None:
    """Ed25519 in OpenSSH's format, not readable by others; never replaced."""
    settings = FleetSettings(key_file=str(tmp_path / "ssh" / "id"))
    line, made = ensure_own_key(settings)
    assert made and line.startswith("ssh-ed25519 ")
    key = tmp_path / "ssh" / "id"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert (tmp_path / "ssh" / "id.pub").read_text() == line + "\n"
    before = key.read_bytes()
    assert ensure_own_key(settings) == (line, False)
    assert key.read_bytes() == before
    assert sorted(entry.name for entry in key.parent.iterdir()) == ["id", "id.pub"]


def test_a_host_that_is_down_presents_no_key(tmp_path: Path) -> None:
    """Nothing listens on this port."""
    with pytest.raises(DownError, match="cannot reach host c-0-0"):
        fetch_host_key(HostAddress("c-0-0", "127.0.0.1", 1), FleetSettings())


@pytest.mark.system
def test_sharing_keys_with_a_host(
    ssh_settings: tuple[FleetSettings, SshServer],
    machine: Machine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As `rocks sync host sharedkey` does: fetch and record its key, install ours by the operator's login."""
    theirs, server = ssh_settings
    settings = FleetSettings(key_file=str(tmp_path / "id"), known_hosts_file=str(tmp_path / "known_hosts"))
    host = HostAddress("compute-0-0", server.address, server.port)
    line, _ = ensure_own_key(settings)
    fetched = fetch_host_key(host, settings)
    assert fetched == parse_host_key(server.host_key)
    assert known_host_keys(host, settings) == ()
    refused(HostError, "not known here", accepts_own_key, host, settings)
    record_host_keys(settings.known_hosts_file, host, (fetched,))
    assert not accepts_own_key(host, settings)

    # the operator's way in is the other key, through an agent; our command itself names no identity
    home = machine.folder / "home"
    home.mkdir(exist_ok=True)
    let_in_with(theirs, tmp_path, monkeypatch)
    with pytest.raises(HostError, match=r"could not be installed on host compute-0-0: ssh ended with exit"):
        install_own_key(host, settings._replace(known_hosts_file=str(tmp_path / "empty")))
    authorized = Path(os.path.expanduser("~root")) / ".ssh" / "authorized_keys"  # noqa: PTH111 - of sshd's root
    before = authorized.read_bytes() if authorized.exists() else None
    try:
        install_own_key(host, settings)
        install_own_key(host, settings)
        assert authorized.read_text().splitlines().count(line) == 1
        assert stat.S_IMODE(authorized.stat().st_mode) & 0o077 == 0 or before is not None
    finally:
        if before is None:
            authorized.unlink()
        else:
            authorized.write_bytes(before)


def let_in_with(theirs: FleetSettings, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a program `ssh` first in the path that adds the operator's key, as the operator's configuration would."""
    program = folder / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec /usr/bin/ssh -i "{theirs.key_file}" "$@"\n')
    program.chmod(0o755)
    run_checked([str(program), "-V"], deadline_seconds=patience(10))
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
