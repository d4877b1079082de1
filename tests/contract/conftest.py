"""Fakes and real systems for the contract tests: the same cases run on both.

Cases on real daemons carry the marker `system`; they need root, and skip with a reason where a daemon is missing.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import agent_archive, libvirtd, sshd
from lab.namespace import Machine, Network
from rocks.fleet.fleet import FleetSettings
from rocks.machine.host.libvirt import accelerator
from tests.contract.agents import Agent
from tests.contract.attacked_host import Attacked
from tests.servers import free_port


def need(*programs: str) -> None:
    """Skip the test unless root runs it where these programs are."""
    if os.geteuid() != 0:
        pytest.skip("the real daemons are started by root")
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")


@pytest.fixture(scope="session")
def machine() -> Iterator[Machine]:
    """A machine with its own folders and the installed agent, without daemons."""
    need("unshare", "nsenter")
    # a short path: the kernel takes 108 bytes for the name of a socket
    folder = Path(tempfile.mkdtemp(prefix="rocks-", dir="/tmp"))
    made = Machine(folder, Network.SHARED)  # the tests reach its sshd
    try:
        made.start()
        agent_archive.install(made.outside("/opt/rocks"))
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def libvirt_uri(machine: Machine) -> Iterator[str]:
    """The URI of the machine's own libvirt, for use outside of the machine."""
    need("libvirtd", "qemu-system-x86_64")
    hooks = machine.outside("/etc/libvirt/hooks/qemu.d")
    hooks.mkdir(parents=True, exist_ok=True)
    (hooks / "rocks").unlink(missing_ok=True)
    (hooks / "rocks").symlink_to("/opt/rocks/libexec/rocks-libvirt-hook")
    libvirtd.start(machine, kvm_works=False)
    init = machine.init()
    try:
        yield f"qemu:///system?socket=/proc/{init.process_id}/root/run/libvirt/libvirt-sock"
    finally:
        libvirtd.stop(machine)


@pytest.fixture(scope="session")
def ssh_settings(machine: Machine) -> Iterator[tuple[FleetSettings, sshd.SshServer]]:
    """A real sshd on loopback whose logins run inside the machine, and settings for the login."""
    need("sshd")
    from rocks.fleet.first_contact import ensure_own_key

    folder = machine.folder / "keys"
    settings = FleetSettings(
        key_file=str(folder / "id_ed25519"), known_hosts_file=str(folder / "known_hosts"), control_folder=""
    )
    server = sshd.start(machine, ensure_own_key(settings)[0] + "\n", port=free_port())
    try:
        yield settings, server
    finally:
        sshd.stop(machine)


@pytest.fixture
def without_kvm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guests are emulated, also where this machine has KVM."""
    monkeypatch.setattr(accelerator, "_DEVICE", tmp_path / "absent")


@pytest.fixture
def agent(tmp_path: Path, without_kvm: None) -> Agent:
    """An agent in this process, of a host in memory without domains and without KVM."""
    return Agent(tmp_path)


@pytest.fixture
def attacked(tmp_path: Path) -> Attacked:
    """A host with an image directory, for tests that run as root."""
    return Attacked(tmp_path)
