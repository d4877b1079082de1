"""Unknown machines on the network private become hosts."""

import math
import os
import signal
import socket
import subprocess  # noqa: TID251 - the command is started and killed as a process
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rocks.database.connection import Database
from rocks.install.boot.discovery import NetworkBoots
from rocks.inventory import host_records
from rocks.network.dns.service import END
from tests.patience import patience
from tests.system.commands.conftest import Site
from tests.system.commands.hosts.conftest import CHECKOUT, FAR
from tests.unit.install.test_boot import frame
from tests.waiting import wait_until


class Discovery:
    """A running `rocks discover host`."""

    def __init__(self, environment: dict[str, str], *arguments: str) -> None:
        start = f"import sys; from rocks.cli.main import main; sys.exit(main({['discover', 'host', *arguments]!r}))"
        reading, writing = os.pipe()
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-c", start],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=writing,
            text=True,
        )
        os.close(writing)
        self._errors, self._read = os.fdopen(reading), ""

    def wait_until_it_listens(self) -> None:
        """What a machine sends before is lost, and the next one would be the first."""
        while "waiting for new machines" not in self._read:
            line = self._errors.readline()
            assert line, f"it has ended: {self._read}"
            self._read += line

    def ended(self) -> tuple[int, str, str]:
        """Exit status, standard output and error, when it has ended."""
        out, _ = self.process.communicate(timeout=patience(60))
        with self._errors:
            return self.process.returncode, out, self._read + self._errors.read()

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.communicate()
        self._errors.close()


@pytest.fixture
def environment(cluster_environment: dict[str, str]) -> dict[str, str]:
    """The environment of commands as processes."""
    return {**os.environ, **cluster_environment, "PYTHONPATH": str(CHECKOUT / "src")}


@pytest.fixture
def wire() -> Iterator[socket.socket]:
    """The other end of the network private."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as found:
        found.bind((FAR, 0))
        yield found


def _mac(number: int) -> bytes:
    return bytes.fromhex("5254aa") + number.to_bytes(3, "big")


def _send(wire: socket.socket, site: Site, count: int, until: int) -> None:
    """Machines ask again and again until so many hosts are in the database."""

    def sent() -> bool:
        for number in range(count):
            wire.send(frame(mac=_mac(number)))
        return _hosts(site) >= until

    wait_until(sent, lambda: f"{_hosts(site)} hosts of {until}")


def _hosts(site: Site) -> int:
    ((count,),) = site.rows("SELECT COUNT(*) FROM nodes WHERE Name LIKE 'compute-0-%'")
    return int(count)


@pytest.mark.slow
def test_each_machine_becomes_one_host(
    served: Site, folders: tuple[Path, Path], environment: dict[str, str], wire: socket.socket
) -> None:
    served.done("add host compute-0-1")
    served.done("set host name compute-0-1 gpu1")  # it keeps its rank
    discovery = Discovery(environment, "count=3", "timeout=60")
    discovery.wait_until_it_listens()
    _send(wire, served, 3, 3)
    assert discovery.ended() == (
        0,
        "52:54:aa:00:00:00 is compute-0-0, 10.1.255.254; to be installed\n"
        "52:54:aa:00:00:01 is compute-0-2, 10.1.255.253; to be installed\n"
        "52:54:aa:00:00:02 is compute-0-3, 10.1.255.252; to be installed\n",
        "Warning: no machine gets an address, since the boot service does not run: systemctl start rocks-boot\n"
        "waiting for new machines on boot0; Ctrl-C ends it\n",
    )
    assert "52:54:aa:00:00:01,10.1.255.253,compute-0-2\n" in (folders[1] / "hosts").read_text()
    assert "rocks.plan=" in (folders[0] / "hosts/52-54-aa-00-00-01.ipxe").read_text()
    assert served.done("list host boot compute-0-2") == "ACTION \ninstall\n"
    assert "compute-0-2: waiting" in served.done("list host install")
    assert "eth0" in served.done("list host interface compute-0-2")


@pytest.mark.slow
def test_ten_thousand_machines_are_not_ten_thousand_hosts(
    served: Site, environment: dict[str, str], wire: socket.socket
) -> None:
    discovery = Discovery(environment, "per-minute=5")
    _send(wire, served, 10_000, 5)
    wait_until(lambda: wire.send(frame(mac=_mac(20_000))) and discovery.process.poll() is not None)
    status, out, err = discovery.ended()
    assert (status, len(out.splitlines())) == (1, 5)
    assert "more than 5 unknown machines asked within a minute" in err and "per-minute=20" in err
    assert _hosts(served) == 5


def test_a_second_one_is_informed_and_a_killed_one_leaves_whole_hosts(
    served: Site, folders: tuple[Path, Path], environment: dict[str, str], wire: socket.socket
) -> None:
    discovery = Discovery(environment, "per-minute=500")
    try:
        _send(wire, served, 1, 1)
        served.done("add network storage 10.77.0.0 255.255.0.0")  # the site is changed meanwhile
        assert "another rocks discover host is running" in served.refused("discover host")
        _send(wire, served, 200, 10)
    finally:
        discovery.kill()
    count = _hosts(served)
    for table in ("networks", "boot", "sec_installations"):
        rows = served.database.rows(
            f"SELECT COUNT(*) FROM nodes n JOIN {table} t ON t.Node = n.ID WHERE n.Name LIKE 'compute-0-%'"
        )
        assert rows == [(count,)], table
    served.database.rollback()
    second = Discovery(environment, "timeout=60", "per-minute=500")
    _send(wire, served, count + 1, count + 1)
    second.process.send_signal(signal.SIGINT)
    status, out, _ = second.ended()
    assert status == 0 and out.startswith(_mac(count).hex(":"))
    assert len((folders[1] / "hosts").read_text().splitlines()) == count + 3


def test_an_interrupt_after_the_commit_loses_no_line(served: Site) -> None:
    """Ctrl-C between the commit and the output: the host is printed, and no further one is added."""
    commit, added = Database.commit, []

    def commit_and_interrupt(database: Database) -> None:
        commit(database)
        if not added and _hosts(served):
            added.append(True)
            signal.raise_signal(signal.SIGINT)

    machines = (_mac(number).hex(":") for number in range(1, 9))
    served.patch.setattr(NetworkBoots, "next", lambda boots, seconds: next(machines))
    served.patch.setattr(Database, "commit", commit_and_interrupt)
    ended = served.rocks("discover host timeout=60")
    assert (ended.status, ended.out) == (
        0,
        "52:54:aa:00:00:01 is compute-0-0, 10.1.255.254; to be installed\n",
    )
    assert _hosts(served) == 1
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_address_of_a_router_name_server_or_bmc_is_not_chosen(served: Site) -> None:
    """No host has them, and they are where the search for a free address begins."""
    served.done("set attr Kickstart_PrivateGateway 10.1.255.254")
    served.done("set attr Kickstart_PrivateDNSServers 10.1.255.253,10.1.255.252")
    served.done("set host attr vmc-0-0 ipmi_address 10.1.255.251")
    served.done("set host attr vmc-0-1 ipmi_address bmc.example.org")
    served.done("set appliance attr compute slurm_server 10.1.255.250")
    for number, line in enumerate(("route", "os route linux", "appliance route compute", "host route head")):
        served.done("add", *line.split(), f"10.{99 + number}.0.0", f"10.1.255.{249 - number}")
    machines = iter([_mac(1).hex(":")])
    served.patch.setattr(NetworkBoots, "next", lambda boots, seconds: next(machines))
    assert " is compute-0-0, 10.1.255.245; " in served.rocks("discover host count=1 timeout=60").out
    assert served.done("report nextip private") == "10.1.255.244\n"
    served.done("add host interface vmc-0-1 eth7 subnet=private ip=10.1.255.251")


def test_a_machine_is_added_when_it_asks_again_after_the_site_was_locked(served: Site) -> None:
    """Discoveries run for hours, and another command may hold the lock of the names for longer than they wait."""
    served.patch.setattr(host_records, "LOCK_SECONDS", 0.1)
    asked = []
    with Database(served.database.settings) as other:
        other.lock(host_records.LOCK, 0)

        def ask(*_: object) -> str:
            asked.append(True)
            if len(asked) == 2:
                other.unlock(host_records.LOCK)
            return _mac(1).hex(":")

        served.patch.setattr(NetworkBoots, "next", ask)
        ended = served.rocks("discover host count=1 timeout=60 appliance=COMPUTE")
    assert (ended.status, ended.out) == (
        0,
        "52:54:aa:00:00:01 is compute-0-0, 10.1.255.254; to be installed\n",
    )
    assert "Warning: 52:54:aa:00:00:01 is not added now (" in ended.err
    assert len(asked) == 2


def test_the_name_of_a_discovered_host_is_served(served: Site, tmp_path: Path) -> None:
    """A name service that cannot write ends no discovery."""
    (tmp_path / "dns/zones").mkdir(parents=True)
    machines = (_mac(number).hex(":") for number in range(1, 9))
    served.patch.setattr(NetworkBoots, "next", lambda boots, seconds: next(machines))
    served.rocks("discover host count=1 timeout=60")
    assert "compute-0-0" in (tmp_path / "dns/zones/local").read_text()
    assert "compute-0-0.local" in (tmp_path / "etc-hosts").read_text()
    hosts = tmp_path / "etc-hosts"
    hosts.write_text(hosts.read_text().replace(END, ""))
    ended = served.rocks("discover host count=2 timeout=60")
    assert (ended.status, len(ended.out.splitlines())) == (0, 2)
    assert ended.err.count("Warning: the names of the new hosts are not written (") == 2


@pytest.mark.slow
def test_hosts_that_were_not_found_are_an_error(
    served: Site, environment: dict[str, str], wire: socket.socket
) -> None:
    seconds = math.ceil(patience(5))  # which it needs to be ready, and to add one
    discovery = Discovery(environment, "count=2", f"timeout={seconds}")
    _send(wire, served, 1, 1)
    status, out, err = discovery.ended()
    assert (status, len(out.splitlines())) == (1, 1)
    assert f"Error: 1 of 2 hosts were found in {seconds} seconds" in err
    assert Discovery(environment, "timeout=1").ended()[0] == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("root.tar.zst", None, "has no root archive with its checksum: add the os roll"),
        ("vmlinuz", None, "which is not that of the distribution rocks-dist: rocks sync config"),
        (
            "installer.img",
            "a newer one",
            "which is not that of the distribution rocks-dist: rocks sync config",
        ),
    ],
)
def test_what_keeps_new_machines_from_being_installed_is_a_warning(
    served: Site,
    folders: tuple[Path, Path],
    environment: dict[str, str],
    name: str,
    content: str | None,
    fault: str,
) -> None:
    path = folders[0].parent / "export/install/rocks-dist/x86_64/installer" / name
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    status, _, err = Discovery(environment, "timeout=1").ended()
    assert status == 0 and "Warning: no host can be installed yet: " in err and fault in err


def test_what_is_invalid_is_refused_before_anything_is_waited_for(vm_site: Site, tmp_path: Path) -> None:
    vm_site.patch.setenv("ROCKS_BOOT_FOLDER", str(tmp_path / "none"))
    for arguments, message in (
        ([], "rocks set host attr head boot_service yes"),
        (["appliance=toaster"], 'there is no appliance "toaster"'),
        (["appliance=network"], "machines of the appliance network are not installed"),
        (["appliance=frontend"], "a frontend is not installed by another one"),
    ):
        assert message in vm_site.refused("discover host", *arguments), arguments
