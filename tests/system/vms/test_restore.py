"""A cluster database that was put back from a copy, or filled from a dump, starts nothing that runs (decision 31)."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import database
from rocks.core.process import run_checked
from tests.system.vms.site import ThreeMachines

DATA = "/var/opt/rocks/mysql/data"
RECORD = "/var/lib/rocks/frontend/leases-cluster.json"
EPOCH = 2**32


class Copies:
    """Copies of the database, as text or (`of_files`) of the stopped server's data folder."""

    def __init__(self, site: ThreeMachines, folder: Path) -> None:
        self.head, self.folder = site.machines["head"], folder

    def take(self, name: str = "copy") -> None:
        """Copy the database as `mariadb-dump` writes it."""
        program = ["mariadb-dump", "--no-defaults", "--routines", "--triggers", self._socket()]
        run_checked([*program, f"--result-file={self.folder / name}", "cluster"], deadline_seconds=60)

    def put_back(self, name: str = "copy") -> None:
        run_checked(
            ["mariadb", "--no-defaults", self._socket(), "cluster", "-e", f"source {self.folder / name}"],
            deadline_seconds=60,
        )

    def take_files(self) -> None:
        self._replace(self.head.outside(DATA), self.folder / "files")

    def put_files_back(self) -> None:
        self._replace(self.folder / "files", self.head.outside(DATA))

    def _replace(self, source: Path, target: Path) -> None:
        database.stop(self.head)
        shutil.rmtree(target, ignore_errors=True)
        run_checked(["cp", "-a", "--sparse=always", str(source), str(target)], deadline_seconds=60)
        database.start(self.head)

    def _socket(self) -> str:
        return f"--socket={self.head.outside('/var/opt/rocks/mysql/mysql.sock')}"


@pytest.fixture
def copies(site: ThreeMachines, tmp_path: Path) -> Iterator[Copies]:
    """Afterwards, the database knows again what runs."""
    yield Copies(site, tmp_path)
    site.revive()
    site.done("sync vm lease")


def test_of_two_commands_one_asks_and_both_go_on(site: ThreeMachines, copies: Copies) -> None:
    machines = [site.add_vm(f"pair-{number}", "vmh1") for number in (1, 2)]
    copies.take()
    site.done(f"start host vm {machines[0]}")
    site.done(f"stop host vm {machines[0]}")
    epoch = site.sql("SELECT Epoch FROM lease_epoch")
    copies.put_back()
    ends = [one.end() for one in [site.begin(f"start host vm {vm}") for vm in machines]]
    assert [status for status, _ in ends] == [0, 0], ends
    assert [int(row[0]) for row in site.sql("SELECT Epoch FROM lease_epoch")] == [int(epoch[0][0]) + 1]


def test_a_frontend_with_the_older_copy_starts_nothing_any_more(site: ThreeMachines, copies: Copies) -> None:
    vm = site.started("claimed", "vmh1")
    site.done(f"stop host vm {vm}")
    old_record = site.machines["head"].outside(RECORD).read_text()
    copies.take("old frontend")
    site.machines["head"].outside(RECORD).unlink()  # the new frontend has none
    site.done("sync vm lease")
    site.done(f"set host vm {vm} physnode=vmh2")
    copies.take("new frontend")
    copies.put_back("old frontend")
    new_record = site.machines["head"].outside(RECORD).read_text()
    site.machines["head"].outside(RECORD).write_text(old_record)
    error = site.refused(f"start host vm {vm}")
    assert "this host has seen epoch" in error
    assert site.running(vm) == []
    copies.put_back("new frontend")
    site.machines["head"].outside(RECORD).write_text(new_record)
    site.done(f"start host vm {vm}")
    assert site.running(vm) == ["vmh2"]


def test_a_copy_of_the_whole_frontend_is_behind_its_hosts(site: ThreeMachines, copies: Copies) -> None:
    vm = site.started("whole", "vmh1")
    site.done(f"stop host vm {vm}")
    copies.take_files()
    old_record = site.machines["head"].outside(RECORD).read_text()
    for _ in range(2):
        site.done(f"start host vm {vm}")
        site.done(f"stop host vm {vm}")
    copies.put_files_back()
    site.machines["head"].outside(RECORD).write_text(old_record)
    epoch = int(site.sql("SELECT Epoch FROM lease_epoch")[0][0])
    site.done("sync vm lease")
    assert int(site.sql("SELECT Epoch FROM lease_epoch")[0][0]) == epoch + 1
    site.done(f"start host vm {vm}")


def test_a_removal_as_the_first_command_holds_up_nobody(site: ThreeMachines, copies: Copies) -> None:
    """The comparison waits for hosts; the fixture fails for a transaction that is open meanwhile."""
    names = [site.add_vm("gone-0", "vmh1"), site.add_vm("gone-1", "head")]
    site.machines["head"].outside(RECORD).unlink(missing_ok=True)
    site.done("remove host " + " ".join(names))
    assert site.sql("SELECT Name FROM nodes WHERE Name LIKE 'gone-%'") == []
