"""Which names of hosts other programs read as something else: the rule, and these programs themselves.

Programs that get a name in a form in which it cannot be anything else have no column: cloud-init (JSON strings),
libvirt and profiles (XML), preseed and kickstart (an option of its own), pxelinux, iPXE and nft (comments), RabbitMQ
(JSON), and image storage (names of volumes, not of hosts). The example of Ansible has no host but localhost. Names of
networks are in comments only, those of clusters are their frontends', racks are numbers.
"""

import re
import shutil
import socket
import subprocess  # noqa: TID251 - the daemons are started and ended as processes
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rocks.core.errors import UserError
from rocks.core.names import check_new_host_name, misread
from rocks.core.process import run, run_checked
from rocks.install.boot.files import (
    BootNetwork,
    BootPlaces,
    ServedHost,
    dnsmasq_configuration,
    dnsmasq_hosts,
)
from rocks.inventory.slurm_configuration import LEFT_OUT, SlurmNode, slurm_configuration
from tests.system.commands.conftest import Site
from tests.waiting import wait_until

LEASES = ("10", "0", "007", "7d", "7D", "45s", "3m", "12h", "2w", "ignore", "infinite")
NODES = ("all", "ALL", "Default", "DEFAULT")
NUMBERS = ("10", "0", "007", "0x1f", "0XFF")
GOOD = (
    *(
        "compute-0-0",
        "1e3",
        "0xg",
        "0x",
        "5dd",
        "5x",
        "10-1",
        "1_2",
        "d",
        "w",
        "7d-1",
        "1d2",
        "known",
        "static",
        "set",
    ),
    *(
        "tag",
        "id",
        "lease",
        "deadbeef",
        "node_1",
        "none-0",
        "any",
        "nodes",
        "virt",
        "batch",
        "drain",
        "in",
        "a",
        "soa",
    ),
    *("true", "yes", "off", "root", "unlimited"),
)
DEVICE, FAR, ADDRESS = "misread0", "misread1", "10.1.0.1"
PORT = 17817


def test_the_rule() -> None:
    for program, names in (("dnsmasq", LEASES), ("Slurm", NODES), ("the resolver", NUMBERS)):
        every = {*LEASES, *NODES, *NUMBERS, *GOOD}
        assert {name for name in every if misread(name, [program])} == {*names}
    for name in GOOD:
        check_new_host_name(name)
    for name in (*LEASES, *NODES, *NUMBERS):
        with pytest.raises(UserError, match=f"Hostname {name} is not valid: .* takes it for "):
            check_new_host_name(name)


def test_the_resolver() -> None:
    def is_address(name: str) -> bool:
        try:
            return bool(socket.getaddrinfo(name, None, socket.AF_INET, 0, 0, socket.AI_NUMERICHOST))
        except OSError:
            return False

    assert {name for name in (*LEASES, *NODES, *NUMBERS, *GOOD) if is_address(name)} == {*NUMBERS}


def test_named(tmp_path: Path) -> None:
    """A name is the first word of a line there, and never anything else."""
    names = [*LEASES, *NODES, *NUMBERS, *GOOD]
    records = "".join(f"{name} IN A 10.1.0.2\n" for name in names)
    zone = tmp_path / "zone"
    zone.write_text(
        f"$TTL 60\n$ORIGIN local.\n@ IN SOA ns root 1 1 1 1 1\n@ IN NS ns\nns IN A {ADDRESS}\n{records}"
    )
    read = run_checked(
        ["named-compilezone", "-k", "ignore", "-o", "-", "local", str(zone)], deadline_seconds=20
    ).text
    found = {line.split()[0] for line in read.splitlines() if line.endswith("10.1.0.2")}
    assert {name.lower() for name in found} == {f"{name.lower()}.local." for name in names}


@pytest.fixture
def network() -> Iterator[None]:
    """A device with an address, and its other end; with loopback alone Slurm knows no addresses."""
    run_checked(["ip", "link", "add", DEVICE, "type", "veth", "peer", "name", FAR], deadline_seconds=10)
    run_checked(["ip", "address", "add", f"{ADDRESS}/16", "dev", DEVICE], deadline_seconds=10)
    for device in (DEVICE, FAR, "lo"):
        run_checked(["ip", "link", "set", device, "up"], deadline_seconds=10)
    yield
    run(["ip", "link", "del", DEVICE], deadline_seconds=10)


@pytest.mark.slow
def test_dnsmasq(network: None, tmp_path: Path) -> None:
    """A name that it reads otherwise changes the lease, and is not sent; in our file it is left out."""
    names = list(dict.fromkeys((*LEASES, *NODES, *NUMBERS, *GOOD)))
    hosts = [ServedHost(name, [_mac(place)], f"10.1.1.{place + 1}") for place, name in enumerate(names)]
    ours = dnsmasq_hosts([*hosts, ServedHost("", [_mac(99)], "10.1.1.99")])
    raw = "".join(f"{host.macs[0]},{host.address},{host.name}\n" for host in hosts)
    leases = _leases(tmp_path, raw, names)
    assert {name for name in names if leases[name] != ("43200", name.lower())} == {*LEASES}
    left_out = {name: ("43200", "" if name in LEASES else name.lower()) for name in names}
    assert _leases(tmp_path, ours, names) == left_out


def _mac(place: int) -> str:
    return f"52:54:00:00:00:{place:02x}"


def _leases(folder: Path, hosts: str, names: list[str]) -> dict[str, tuple[str, ...]]:
    """Name → the time of the lease and the name that its host gets, in lower case."""
    (folder / "hosts").write_text(hosts)
    (folder / "script").write_text('#!/bin/sh\n[ "$1" != bound ] || echo "$lease $hostname" >"$0.got"\n')
    (folder / "script").chmod(0o755)
    place = BootNetwork(DEVICE, ADDRESS, "255.255.0.0", "", [], 0)
    text = dnsmasq_configuration(place, BootPlaces(str(folder), str(folder / "hosts"), str(folder / "pid")))
    (folder / "conf").write_text(text.replace("user=dnsmasq", "user=root"))
    found: dict[str, tuple[str, ...]] = {}
    with subprocess.Popen(
        ["dnsmasq", "-k", f"--conf-file={folder}/conf"], stderr=subprocess.DEVNULL
    ) as process:
        try:
            wait_until((folder / "pid").exists, "dnsmasq runs")
            for number, name in enumerate(names):
                for change in (("down",), ("address", _mac(number)), ("up",)):
                    run_checked(["ip", "link", "set", FAR, *change], deadline_seconds=10)
                got = folder / "script.got"
                got.unlink(missing_ok=True)
                client = ["busybox", "udhcpc", "-f", "-q", "-n", "-t", "4", "-T", "1", "-i", FAR]
                run([*client, "-s", str(folder / "script")], deadline_seconds=30)
                lease, _, sent = got.read_text().rstrip("\n").partition(" ") if got.exists() else ("", "", "")
                found[name] = (lease, sent.lower())
        finally:
            process.kill()
    (folder / "pid").unlink()
    return found


@pytest.mark.skipif(not shutil.which("slurmctld"), reason="slurmctld is not installed")
def test_slurm(network: None, tmp_path: Path) -> None:
    """It ends with such a name of one node; in our file the node is a comment."""
    raw = slurm_configuration("head", ADDRESS, [_node("x"), _node("NAME")], "")
    for name in NODES:
        assert _slurmctld(tmp_path, raw.replace("NAME", name)) != ""
    every = list(dict.fromkeys((*LEASES, *NODES, *NUMBERS, *GOOD)))
    text = slurm_configuration("head", ADDRESS, [_node(name) for name in every], "")
    assert _slurmctld(tmp_path, text) == ""
    left_out = [line.removeprefix(LEFT_OUT) for line in text.splitlines() if line.startswith(LEFT_OUT)]
    assert left_out == [f" {name}: Slurm takes it for all hosts, or their defaults" for name in NODES]


def _node(name: str) -> SlurmNode:
    return SlurmNode(name, ADDRESS, 4, has_machines=True)


_NEEDS_MORE = (
    "AccountingStorage",
    "Prolog",
    "Epilog",
    "HealthCheck",
    "SlurmUser",
    "Priority",
    "State",
    "Slurmctld",
)


def _slurmctld(folder: Path, text: str) -> str:
    """Why slurmctld ends with the file, but for what needs daemons of its own; '' when it goes on."""
    lines = [line for line in text.splitlines() if not line.startswith(_NEEDS_MORE)]
    own = (
        *(f"SlurmctldHost={socket.gethostname()}({ADDRESS})", f"SlurmctldPort={PORT}", "SlurmUser=root"),
        *("AuthType=auth/none", "CredType=cred/none", f"StateSaveLocation={folder}/state"),
        f"SlurmctldPidFile={folder}/slurm.pid",
    )
    shutil.rmtree(folder / "state", ignore_errors=True)
    (folder / "state").mkdir()
    (folder / "slurm.conf").write_text("".join(f"{line}\n" for line in (*lines, *own)))
    program = ["slurmctld", "-D", "-c", "-f", str(folder / "slurm.conf"), "-L", str(folder / "slurm.log")]
    with (
        (folder / "slurm.out").open("w") as out,
        subprocess.Popen(program, stdout=out, stderr=out) as process,
    ):
        end = time.monotonic() + 60
        log = folder / "slurm.log"
        log.unlink(missing_ok=True)
        while process.poll() is None and time.monotonic() < end:
            if log.exists() and "Running as primary controller" in log.read_text():
                process.kill()
                return ""
            time.sleep(0.05)
        process.kill()
    return (folder / "slurm.out").read_text()[-2000:]


def test_a_stored_name_is_named_and_leaves_the_rest_alone(vm_site: Site) -> None:
    vm_site.done("set attr slurm_server 10.1.0.1")
    assert "Hostname all is not valid: Slurm takes it for all hosts" in vm_site.refused(
        "add host all membership=compute rack=1 rank=1"
    )
    vm_site.done("add host other membership=compute rack=1 rank=1")
    assert "Hostname 7d is not valid: dnsmasq takes it for" in vm_site.refused("set host name other 7d")
    vm_site.change("UPDATE nodes SET Name = 'Default' WHERE Name = 'other'")
    text = vm_site.done("report slurm")
    assert f"\n{LEFT_OUT} Default: Slurm takes it for" in text and "NodeName=vmc-0-0 " in text
    found = vm_site.rocks("check site").out
    assert re.search(
        "^name Default: +wrong +Slurm takes it for all hosts, .* rocks set host name Default NAME",
        found,
        re.M,
    )
