"""Command lines, run in this process on the test's own database."""

import os
import shlex
import sysconfig
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from rocks.cli.main import main
from rocks.database.connection import Database
from rocks.database.settings import Settings
from rocks.fleet.connection import FleetSettings
from rocks.inventory import host_requests
from rocks.inventory.attributes.records import replace_attribute
from rocks.storage.broker import broker as message_broker
from rocks.storage.broker.broker import BrokerSettings
from tests.command_trees import tree, write_command

__all__ = ["tree", "write_command"]


class Ended(NamedTuple):
    """Result of a command line: exit status, standard output, standard error, number of SQL statements."""

    status: int
    out: str
    err: str
    statements: int


class CommandLine:
    """`rocks("list host", name)`: runs the command line in this process.

    The first text is split as a shell splits it; each further one is one argument, whatever it contains.
    """

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.calls = 0
        self.statements: list[int] = []
        """Of each database that the last command closed."""

    def __call__(self, typed: str = "", *arguments: str) -> Ended:
        self.calls += 1
        self._capsys.readouterr()
        self.statements.clear()
        status = main([*shlex.split(typed), *arguments])
        captured = self._capsys.readouterr()
        return Ended(status, captured.out, captured.err, sum(self.statements))


@dataclass
class Site:
    """A cluster for tests: `rocks` runs a command, `contents` has a checksum of each table.

    What `patch` changes is as before when the test has ended.
    """

    rocks: CommandLine
    database: Database
    patch: pytest.MonkeyPatch
    _known: tuple[tuple[int, int], list[tuple[object, ...]]] | None = None
    """The contents after the last refused command, and the moment: nothing has happened since when it is the same."""

    def done(self, *arguments: str) -> str:
        """Run a command that must succeed; returns its output."""
        ended = self.rocks(*arguments)
        assert (ended.status, ended.err) == (0, ""), f"rocks {arguments}: {ended}"
        return ended.out

    def refused(self, *arguments: str, status: int = 1) -> str:
        """Run a command that must be refused with one line and change nothing; returns that line."""
        unchanged = self._known is not None and self._known[0] == self._moment()
        before = self._known[1] if self._known is not None and unchanged else self.contents()
        ended = self.rocks(*arguments)
        lines = ended.err.splitlines()
        assert ended.status == status, f"rocks {arguments}: {ended}"
        is_json = "json=yes" in " ".join(arguments)
        assert ended.out.startswith('[\n    {\n        "error"') if is_json else ended.out == "", ended
        assert lines and lines[0].startswith("Error: ") and len(lines) <= 2, f"rocks {arguments}: {ended}"
        assert all(line.startswith("rocks ") for line in lines[1:]), f"rocks {arguments}: {ended}"
        after = self.contents()
        assert after == before, f"rocks {arguments} was refused and changed the database"
        self._known = (self._moment(), after)
        return lines[0].removeprefix("Error: ")

    def _moment(self) -> tuple[int, int]:
        """How many commands, and statements on this connection, there were."""
        return (self.rocks.calls, self.database.statements)

    def contents(self) -> list[tuple[object, ...]]:
        """A checksum of each table but the audit log, which has refused commands too."""
        self.database.rollback()
        names = [
            row[0]
            for row in self.database.rows(
                "SELECT TABLE_NAME FROM information_schema.TABLES"
                " WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE = 'BASE TABLE'"
                " AND TABLE_NAME NOT LIKE 'sec\\_audit%' ORDER BY 1"
            )
        ]
        return self.database.rows("CHECKSUM TABLE " + ", ".join(names))

    def set_as_before(self, name: str, value: str, host: str | None = None) -> None:
        """Store an attribute with any value, as earlier releases did."""
        scope, member = ("host", host) if host else ("global", "global")
        replace_attribute(self.database, scope, [member], name, value)
        self.database.commit()

    def take_lease(self, name: str, host: str, state: str = "running", token: int = 7) -> None:
        """Record that the machine may run on the host, as a start does."""
        columns = "INSERT INTO vm_leases (Name, Token, Host, State) VALUES (%s, %s, %s, %s)"
        self.change(
            f"{columns} ON DUPLICATE KEY UPDATE Token = Token + 1, Host = %s, State = %s",
            [name, token, host, state, host, state],
        )

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Rows of the database as it is now."""
        self.database.rollback()
        return self.database.rows(sql, values)

    def change(self, sql: str, values: Sequence[object] = ()) -> None:
        """Change the database without a command."""
        self.database.execute(sql, values)
        self.database.commit()


@pytest.fixture
def rocks(
    cluster_environment: dict[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[CommandLine]:
    """The command lines of the test's own cluster."""
    # this machine's own certificates say nothing of the test's site
    for name, value in {**cluster_environment, "ROCKS_PKI_FOLDER": "/nowhere/pki"}.items():
        monkeypatch.setenv(name, value)
    line = CommandLine(capsys)
    close, command_thread = Database.close, threading.current_thread()

    def counted_close(database: Database) -> None:
        # services, also those of earlier tests, close databases in threads of their own meanwhile
        if threading.current_thread() is command_thread:
            line.statements.append(database.statements)
        close(database)

    monkeypatch.setattr(Database, "close", counted_close)
    yield line
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):  # the owners' service would write to a later test's audit log
            thread.cancel()


@pytest.fixture
def site(rocks: CommandLine, cluster_database: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A cluster with the networks private and public and no host."""
    with Database(cluster_database) as database:
        database.execute(
            "INSERT INTO subnets (name, dnszone, subnet, netmask, mtu, servedns) VALUES"
            " ('private', 'local', '10.1.0.0', '255.255.0.0', 1500, 1),"
            " ('public', 'example.org', '203.0.113.0', '255.255.255.0', 1500, 0)"
        )
        database.commit()
        yield Site(rocks, database, monkeypatch)


@pytest.fixture
def processes(rocks: CommandLine, cluster_environment: dict[str, str]) -> dict[str, str]:
    """The environment of a `rocks` that is a process of its own."""
    return {
        "PATH": os.environ["PATH"],
        "ROCKS_SITE_PACKAGES": sysconfig.get_path("purelib"),
        "ROCKS_LAUNCHER": "/opt/rocks/bin/rocks",
        **cluster_environment,
    }


@pytest.fixture
def entered_by_others() -> Iterator[Path]:
    """A folder that the users of daemons can enter: each pytest that starts closes the one above its own to them."""
    with tempfile.TemporaryDirectory(prefix="rocks-", dir="/tmp") as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest.fixture
def computes(site: Site) -> Site:
    """compute-0-0 and compute-0-1."""
    for number in range(2):
        site.done("add host", f"compute-0-{number}")
    return site


@pytest.fixture
def silent_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    """No host can be asked anything: there is neither a key to others nor an agent on this machine."""
    nowhere = FleetSettings("/nowhere/key", "/nowhere/known_hosts", "root", "/nowhere/agent")
    monkeypatch.setattr(host_requests, "FleetSettings", lambda: nowhere)


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the site's authority in this test; no broker, whose program would start a port mapper."""
    monkeypatch.setattr(message_broker, "AUTHORITY_FOLDER", str(tmp_path / "authority"))
    monkeypatch.setattr(
        message_broker, "read_broker_settings", lambda: BrokerSettings("/nowhere/rabbitmqctl")
    )
    return tmp_path / "authority"


@pytest.fixture
def vm_site(site: Site, silent_hosts: None) -> Site:
    """The site of the specification's samples: frontend `head`, VM containers `vmc-0-0` and `vmc-0-1`, all silent.

    All three are in rack 0, ranks 0, 0 and 1, with `eth0` on network private at 10.1.0.1 to 10.1.0.3 and free space
    on /state/partition1; `head`, which may run virtual machines too, has `eth1` on public at 203.0.113.2.
    """
    site.database.execute(
        "INSERT INTO nodes (Name, Membership, CPUs, Rack, Rank) SELECT w.Name, m.ID, 4, 0, w.Rank FROM ("
        "SELECT 'head' AS Name, 'Frontend' AS Kind, 0 AS Rank UNION ALL SELECT 'vmc-0-0', 'VM Container', 0"
        " UNION ALL SELECT 'vmc-0-1', 'VM Container', 1) w JOIN memberships m ON m.Name = w.Kind"
        " ORDER BY w.Name"  # MariaDB 11.8 would number them in another order
    )
    site.database.execute(
        "INSERT INTO networks (Node, MAC, IP, Name, Device, Subnet)"
        " SELECT n.ID, w.MAC, w.IP, n.Name, w.Device, s.ID FROM ("
        "SELECT 'head' AS Host, '52:54:00:00:00:01' AS MAC, '10.1.0.1' AS IP, 'eth0' AS Device, 'private' AS Net"
        " UNION ALL SELECT 'head', '52:54:00:00:00:02', '203.0.113.2', 'eth1', 'public'"
        " UNION ALL SELECT 'vmc-0-0', '52:54:00:00:00:03', '10.1.0.2', 'eth0', 'private'"
        " UNION ALL SELECT 'vmc-0-1', '52:54:00:00:00:04', '10.1.0.3', 'eth0', 'private'"
        ") w JOIN nodes n ON n.Name = w.Host JOIN subnets s ON s.name = w.Net ORDER BY w.MAC"
    )
    site.database.execute(
        "INSERT INTO partitions (Node, Mountpoint, PartitionSize) SELECT n.ID, w.Mount, w.Size FROM nodes n JOIN ("
        "SELECT '/' AS Mount, '20480MB' AS Size UNION ALL SELECT '/state/partition1', '102400MB'"
        " UNION ALL SELECT 'swap', '999999MB') w"
    )
    site.database.execute(
        "INSERT INTO attributes (Attr, Value, Category, Catindex) SELECT w.Attr, w.Value, c.ID, i.ID FROM ("
        "SELECT 'vm_mac_base_addr' AS Attr, '76:77:6e:80:00:00' AS Value"
        " UNION ALL SELECT 'vm_mac_base_addr_mask', 'ff:ff:ff:c0:00:00'"
        " UNION ALL SELECT 'Kickstart_PrivateHostname', 'head'"
        " UNION ALL SELECT 'Kickstart_PublicGateway', '203.0.113.1'"
        " UNION ALL SELECT 'Kickstart_PublicDNSServers', '198.51.100.7,198.51.100.8'"
        ") w JOIN categories c ON c.Name = 'global' JOIN catindex i ON i.Category = c.ID"
    )
    replace_attribute(site.database, "host", ["head"], "kvm", "true")
    site.database.commit()
    return site
