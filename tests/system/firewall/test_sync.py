"""`rocks sync host firewall` to a machine with a network of its own, by a real sshd."""

import math
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from lab import sshd
from lab.namespace import Machine, Network
from rocks.core.errors import RocksError
from rocks.core.process import run_checked, start_with_pipes
from rocks.fleet.connection import FleetSettings, HostAddress
from rocks.fleet.first_contact import ensure_own_key
from rocks.fleet.known_hosts import parse_host_key, record_host_keys
from rocks.network.firewall import changes as firewalls
from rocks.network.firewall import deployment as on_host
from rocks.network.firewall.nft import UNIT_TEXT
from tests.patience import patience
from tests.system.commands.conftest import Site, rocks, site  # noqa: F401
from tests.waiting import at_once, wait_until

from .namespaces import Namespace

NAME, OWN, ADDRESS, OTHER = "compute-0-0", "10.1.0.1", "10.1.0.2", "10.1.0.7"


class Target(NamedTuple):
    """The machine, its network, and how SSH reaches it."""

    machine: Machine
    network: Namespace
    settings: FleetSettings
    host: HostAddress

    def rules(self) -> str:
        """The tables in its kernel."""
        return self.network.run("nft", "list", "ruleset")

    def file(self, place: str) -> Path:
        """The path from here of a file in its /run or /etc/rocks."""
        return Path(f"/proc/{self.network.process_id}/root{place}")

    def wait_for_rules(self, text: str) -> None:
        """Wait until the kernel's rules have the text."""
        wait_until(lambda: text in self.rules(), problem=self.rules)


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    """A machine at 10.1.0.2; this process is at 10.1.0.1, the address of the frontend, and 10.1.0.7."""
    if os.geteuid() != 0:
        pytest.skip("machines are made by root")
    for program in ("nft", "sshd", "ssh", "ip"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    folder = Path(tempfile.mkdtemp(prefix="rocks-", dir="/tmp"))
    machine = Machine(folder, Network.OWN)
    try:
        machine.start()
        process = machine.init()
        network = Namespace(process.process_id)
        _connect(network)
        settings = FleetSettings(
            key_file=str(folder / "keys" / "id_ed25519"),
            known_hosts_file=str(folder / "known_hosts"),
            connect_deadline_seconds=patience(3.0),
            control_folder="",
        )
        line, _ = ensure_own_key(settings)
        server = sshd.start(machine, line + "\n", ADDRESS)
        host = HostAddress(NAME, ADDRESS, server.port)
        record_host_keys(settings.known_hosts_file, host, (parse_host_key(server.host_key),))
        yield Target(machine, network, settings, host)
    finally:
        sshd.stop(machine)
        machine.stop()
        run_checked(["sh", "-c", "ip link delete fw0 2>&1 || true"], deadline_seconds=10)
        shutil.rmtree(folder)


def _connect(network: Namespace) -> None:
    link = (
        "ip",
        "link",
        "add",
        "fw0",
        "type",
        "veth",
        "peer",
        "name",
        "eth0",
        "netns",
        str(network.process_id),
    )
    for arguments in (
        link,
        ("ip", "address", "add", f"{OWN}/16", "dev", "fw0"),
        ("ip", "address", "add", f"{OTHER}/16", "dev", "fw0"),
        ("ip", "link", "set", "fw0", "up"),
    ):
        run_checked(arguments, deadline_seconds=10)
    network.address("eth0", f"{ADDRESS}/16")


@pytest.fixture
def synced(site: Site, target: Target, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:  # noqa: F811
    """head is this machine; compute-0-0 is the target, whose firewall is on; one rule drops everything."""
    monkeypatch.setattr(firewalls, "FleetSettings", lambda: target.settings)
    site.done("add", "host", "head", "membership=frontend", "rack=0", "rank=0")
    site.done("add", "host", NAME)
    site.done("set", "attr", "Kickstart_PrivateHostname", "head")
    site.done("add", "host", "interface", "head", "eth0", f"ip={OWN}", "subnet=private")
    site.done("add", "host", "interface", NAME, "eth0", f"ip={ADDRESS}", "subnet=private")
    site.done("set", "host", "attr", NAME, "ssh_port", str(target.host.port))
    site.done("set", "host", "attr", NAME, "firewall", "true")
    site.done("add", "firewall", "rulename=R90", *("service=all", "protocol=all", "chain=INPUT"), "action=DROP",
              "network=private")  # fmt: skip
    yield site
    on_host.remove_rules(
        target.host._replace(is_local=False), target.settings, "table ip a\ndelete table ip a\n"
    )
    target.network.run("nft", "flush", "ruleset")


def reach(port: int, source: str = OTHER, seconds: float = 0.5) -> str:
    """What a new connection to the target finds."""
    try:
        with socket.create_connection((ADDRESS, port), seconds, source_address=(source, 0)):
            return "open"
    except TimeoutError:
        return "silent"
    except OSError:
        return "refused"


def test_rules_are_loaded_changed_and_removed(synced: Site, target: Target) -> None:
    target.network.run("nft", "add", "table", "ip", "libvirt_network")
    port = target.host.port
    with socket.create_connection((ADDRESS, port), 5, source_address=(OTHER, 0)) as old:
        assert old.recv(4) == b"SSH-"
        assert synced.done("sync", "host", "firewall", NAME) == (
            f"{NAME}: rules loaded; it accepts from private nothing but what always passes, since the rule R90 refuses "
            "all else before any rule accepts it\n"
        )
        assert reach(port) == "silent"
        assert reach(port, OWN) == "open"
        old.sendall(b"SSH-2.0-test\r\n")
        old.settimeout(120)
        assert len(old.recv(1000)) > 0, "an open connection stays"
    assert synced.done("sync", "host", "firewall", NAME).startswith(f"{NAME}: the same rules loaded again;")
    synced.done("add", "firewall", "rulename=A10", "service=1", "protocol=tcp", "chain=INPUT", "action=ACCEPT",
                "network=all")  # fmt: skip
    printed = synced.done("sync", "host", "firewall", NAME)
    assert printed == f"{NAME}: rules loaded; it accepts from private only what its rules accept\n"
    assert reach(1) == "refused", "nobody listens, and no rule is in the way"
    text = target.machine.outside("/etc/rocks/firewall.nft")
    assert text.read_text("utf-8") in synced.done("report", "host", "firewall", NAME)
    assert text.stat().st_mode & 0o777 == 0o600
    synced.done("set", "host", "attr", NAME, "firewall", "false")
    removed = synced.done("sync", "host", "firewall", NAME)
    assert removed == f"{NAME}: rules removed: its attribute firewall is not true\n"
    assert (
        synced.done("sync", "host", "firewall", NAME)
        == f"{NAME}: no rules: its attribute firewall is not true\n"
    )
    assert not text.exists()
    assert target.rules().split() == ["table", "ip", "libvirt_network", "{", "}"]


@pytest.fixture
def shared_connections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`ControlMaster auto` in the operator's ~/.ssh/config."""
    with tempfile.TemporaryDirectory(prefix="rocks-", dir="/tmp") as folder:
        shared = Path(folder) / "shared"
        (tmp_path / "config").write_text(f"ControlMaster auto\nControlPersist 60\nControlPath {shared}\n")
        program, ssh = tmp_path / "programs" / "ssh", shutil.which("ssh")
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec {ssh} -F {tmp_path}/config "$@"\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
        yield
        if shared.exists():
            run_checked(["ssh", "-S", str(shared), "-O", "exit", ADDRESS], deadline_seconds=10)


@pytest.mark.slow
def test_rules_that_refuse_the_frontend_are_taken_back(
    synced: Site, target: Target, shared_connections: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database has another address of the frontend, and no rule accepts SSH. No connection is shared."""
    synced.done("sync", "host", "firewall", NAME)
    before = target.machine.outside("/etc/rocks/firewall.nft").read_text("utf-8")
    seconds = math.ceil(patience(12))
    monkeypatch.setattr(firewalls, "load_rules", partial(on_host.load_rules, rollback_seconds=seconds))
    synced.done("set", "host", "interface", "ip", "head", "eth0", "10.1.0.99")
    failed = synced.rocks("sync", "host", "firewall", NAME)
    assert failed.status == 1
    assert f"host {NAME} is not reached with the new firewall rules" in failed.err
    assert f"it loads the earlier ones again, {seconds} s after it got the new ones" in failed.err
    assert "10.1.0.99" in target.rules() and OWN not in target.rules()
    target.wait_for_rules(OWN)
    assert "10.1.0.99" not in target.rules()
    assert target.machine.outside("/etc/rocks/firewall.nft").read_text("utf-8") == before
    synced.done("set", "host", "interface", "ip", "head", "eth0", OWN)
    assert "loaded again" in synced.done("sync", "host", "firewall", NAME)


def rules_with(number: int) -> str:
    """A file of its own for each number."""
    table = "table inet rocks_filter"
    chain = f"chain input {{ type filter hook input priority 0; tcp dport {number} drop; }}"
    return f"{table}\ndelete {table}\n{table} {{\n  {chain}\n}}\n"


@pytest.mark.slow
def test_a_killed_command_leaves_the_earlier_rules(synced: Site, target: Target) -> None:
    on_host.load_rules(target.host, target.settings, rules_with(1001), UNIT_TEXT)
    # by itself: a signal from outside may come when the confirmation is on its way
    script = (
        "import os, signal, sys; from rocks.network.firewall import deployment;"
        "from rocks.fleet.connection import *;"
        "deployment._check = lambda host, applied: os.kill(os.getpid(), signal.SIGKILL);"
        "deployment.load_rules(HostAddress(*eval(sys.argv[1])), FleetSettings(*eval(sys.argv[2])), sys.argv[3], '', 4)"
    )
    arguments = [repr(tuple(target.host)), repr(tuple(target.settings)), rules_with(1002)]
    source = Path(firewalls.__file__).parents[3]
    program = start_with_pipes(["env", f"PYTHONPATH={source}", sys.executable, "-c", script, *arguments])
    pending = target.file("/run/rocks-firewall/pending")
    assert program.wait() == -signal.SIGKILL
    assert pending.exists(), "the program was to be killed before it confirms"
    target.wait_for_rules("1001")
    wait_until(lambda: not pending.exists())  # removed after the rules are back
    assert target.machine.outside("/etc/rocks/firewall.nft").read_text() == rules_with(1001)
    assert on_host.load_rules(target.host, target.settings, rules_with(1003), UNIT_TEXT) == "loaded"


@pytest.mark.slow
def test_rules_that_would_not_be_those_of_the_next_boot_are_taken_back(synced: Site, target: Target) -> None:
    """What the next boot needs is written before the rules stay: the error states that the earlier ones return."""
    on_host.load_rules(target.host, target.settings, rules_with(1101), UNIT_TEXT)
    obstacle = target.file("/run/rocks-firewall/unit")
    obstacle.unlink()
    obstacle.mkdir()
    seconds = math.ceil(patience(2))
    try:
        with pytest.raises(RocksError, match=f"not those of its next boot .*earlier ones again, {seconds} s"):
            on_host.load_rules(target.host, target.settings, rules_with(1102), UNIT_TEXT, seconds)
        target.wait_for_rules("1101")
        assert target.machine.outside("/etc/rocks/firewall.nft").read_text() == rules_with(1101)
    finally:
        obstacle.rmdir()
    on_host.load_rules(target.host, target.settings, rules_with(1103), UNIT_TEXT)
    assert "1103" in target.rules()


@pytest.mark.slow
def test_two_at_once(synced: Site, target: Target) -> None:
    def load(number: int) -> None:
        on_host.load_rules(target.host, target.settings, rules_with(number), UNIT_TEXT)

    at_once(load, (2001, 2002, 2003))
    stored = target.machine.outside("/etc/rocks/firewall.nft").read_text()
    assert stored in [rules_with(number) for number in (2001, 2002, 2003)]
    (number,) = [number for number in (2001, 2002, 2003) if f"dport {number}" in target.rules()]
    assert stored == rules_with(number)
    assert [path.name for path in target.file("/run/rocks-firewall").glob("*.nft")] == []


@pytest.mark.slow
@pytest.mark.parametrize("text", ["table inet rocks_filter { chain", "", "flush ruleset; nonsense"])
def test_rules_that_nft_refuses_change_nothing(synced: Site, target: Target, text: str) -> None:
    on_host.load_rules(target.host, target.settings, rules_with(3001), UNIT_TEXT)
    if text:
        with pytest.raises(RocksError, match="refuses the firewall rules, its earlier ones stay: .*rror"):
            on_host.load_rules(target.host, target.settings, text, UNIT_TEXT)
        assert "3001" in target.rules()
    assert not target.file("/run/rocks-firewall/pending").exists()


@pytest.mark.slow
def test_a_host_that_is_not_there(synced: Site, target: Target) -> None:
    synced.done("set", "host", "interface", "ip", NAME, "eth0", "10.1.0.50")
    failed = synced.rocks("sync", "host", "firewall", NAME)
    assert failed.status == 1
    assert f"the firewall rules of host {NAME} were not sent: " in failed.err


@pytest.mark.slow
def test_ten_thousand_rules(synced: Site, target: Target) -> None:
    synced.change(
        "INSERT INTO firewalls (Rulename, Service, Protocol, Action, Chain, Category, Catindex) SELECT"
        " CONCAT('A', LPAD(seq, 5, '0')), seq, 'tcp', 'ACCEPT', 'INPUT', 1, 1 FROM seq_1_to_10000"
    )
    synced.done("sync", "host", "firewall", NAME)
    assert "tcp dport 10000 accept" in target.rules()
    assert reach(10000) == "refused"
    assert reach(10001) == "silent"
