"""Deployment of certificates: to a host behind a real sshd, and to this machine, with the same result."""

import stat
from pathlib import Path

import pytest

from lab.namespace import Machine
from lab.sshd import SshServer
from rocks.core.errors import HostError
from rocks.fleet.connection import FleetSettings, HostAddress
from rocks.fleet.known_hosts import parse_host_key, record_host_keys
from rocks.site.certificates import deploy

FIRST = {"node.pem": b"secret 1\n", "ca.crt": b"authority\n", "revoked.pem": b"list\n"}
SECOND = {**FIRST, "node.pem": b"secret 2\n" * 1000}


def _check(there: Path, files: dict[str, bytes]) -> None:
    assert {file.name: file.read_bytes() for file in there.iterdir()} == files
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in there.iterdir()}
    assert modes == {"node.pem": 0o600, "ca.crt": 0o644, "revoked.pem": 0o644}


def test_deployment_to_this_machine(tmp_path: Path) -> None:
    host = HostAddress("head", "127.0.0.1", is_local=True)
    there = tmp_path / "a folder's name"
    for files in (FIRST, SECOND):
        deploy(host, FleetSettings(), files, str(there))
        _check(there, files)
    (tmp_path / "file").touch()
    with pytest.raises(HostError, match="cannot be deployed to host head"):
        deploy(host, FleetSettings(), FIRST, str(tmp_path / "file"))


@pytest.mark.slow
@pytest.mark.system
def test_deployment_to_a_host(
    ssh_settings: tuple[FleetSettings, SshServer], machine: Machine, tmp_path: Path
) -> None:
    theirs, server = ssh_settings
    settings = theirs._replace(known_hosts_file=str(tmp_path / "known_hosts"))
    host = HostAddress("compute-0-0", server.address, server.port)
    with pytest.raises(HostError, match="cannot be deployed to host compute-0-0"):
        deploy(host, settings, FIRST, "/etc/rocks/pki")
    record_host_keys(settings.known_hosts_file, host, (parse_host_key(server.host_key),))
    for files in (FIRST, SECOND):
        deploy(host, settings, files, "/etc/rocks/pki")
        _check(machine.outside("/etc/rocks/pki"), files)
