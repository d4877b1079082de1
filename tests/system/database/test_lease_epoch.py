"""Grants of leases, and the record of them outside the database (decision 31)."""

import os
from contextlib import nullcontext
from pathlib import Path

import pytest

from rocks.core.errors import BusyError, RocksError, StateError
from rocks.database.connection import Database
from rocks.database.settings import Settings
from rocks.fleet.wire.facts import EPOCH_TOKENS, HostFacts
from rocks.leases import after_restore
from rocks.leases.lease import begin_epoch, ensure_epoch, read_epoch, read_record, take_leases

REQUEST = {"web": ("vmc-0-0", ())}


def grant(database: Database) -> int:
    """The token of a committed grant."""
    token = take_leases(database, REQUEST)["web"]
    database.commit()
    return token


def record_file(database: Database) -> Path:
    return Path(database.settings.state_folder) / f"leases-{database.settings.database}.json"


def test_each_committed_grant_is_recorded_and_one_that_was_undone_is_not(database: Database) -> None:
    before = read_epoch(database)
    assert read_record(database) == before
    take_leases(database, REQUEST)
    database.rollback()
    assert read_record(database) == before
    assert [grant(database), grant(database)] == [1, 2]
    assert read_record(database) == read_epoch(database) == before._replace(serial=before.serial + 2)
    assert record_file(database).stat().st_mode & 0o777 == 0o600


def test_a_command_that_is_killed_after_its_commit_leaves_a_record_that_is_followed(
    database: Database, cluster_database: Settings
) -> None:
    with Database(cluster_database) as killed:
        take_leases(killed, REQUEST)
        killed._after_commit.clear()
        killed.commit()
    assert read_epoch(database) != read_record(database)
    assert read_epoch(database).follows(read_record(database))
    assert grant(database) == 2


@pytest.mark.parametrize(
    ("restore", "reason"),
    [
        (
            "UPDATE lease_epoch SET Serial = Serial - 1",
            "lacks the latest leases: it was restored from a copy",
        ),
        (
            "UPDATE lease_epoch SET Identity = 'another'",
            "is another one than before: it was made anew, or restored",
        ),
        ("DELETE FROM lease_epoch", "is another one than before: it was made anew, or restored"),
    ],
)
def test_a_restored_database_grants_nothing(database: Database, restore: str, reason: str) -> None:
    grant(database)
    database.execute(restore)
    database.commit()
    assert not read_epoch(database).follows(read_record(database))
    with pytest.raises(StateError, match=f"{reason}.* `rocks sync vm lease`"):
        take_leases(database, REQUEST)
    database.rollback()
    assert database.rows("SELECT Token FROM vm_leases") == [(1,)]


@pytest.mark.parametrize(
    "content",
    [
        *("", "{", "[]", '{"identity": "x", "epoch": "y", "serial": 1}'),
        *("[" * 200_000, '{"identity": "x", "epoch": 1e400, "serial": 1}'),
    ],
    ids=lambda content: content[:20],
)
def test_a_record_that_is_lost_or_corrupt_is_as_none(database: Database, content: str) -> None:
    record_file(database).write_text(content)
    assert read_record(database) is None
    with pytest.raises(StateError):
        take_leases(database, REQUEST)
    record_file(database).unlink()
    assert not read_epoch(database).follows(read_record(database))


def test_a_record_that_is_a_fifo_is_not_waited_for(database: Database) -> None:
    record_file(database).unlink(missing_ok=True)
    os.mkfifo(record_file(database))
    assert read_record(database) is None


def test_a_new_epoch_has_higher_tokens_and_another_identity(database: Database) -> None:
    grant(database)
    old = read_epoch(database)
    begin_epoch(database, 3, above_serial=70)
    database.commit()
    new = read_epoch(database)
    assert read_record(database) == new
    assert (new.epoch, new.serial) == (3, 71)
    assert new.identity != old.identity
    assert [grant(database), grant(database)] == [3 * EPOCH_TOKENS + 1, 3 * EPOCH_TOKENS + 2]


class Hosts:
    """`h1` and `h2` as `compare_leases` asks them; `epochs` is what they have seen, `busy` refuses a higher one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.epochs = {"h1": 0, "h2": 0}
        self.busy: set[str] = set()
        monkeypatch.setattr(after_restore, "hosts_with_machines", lambda _: list(self.epochs))
        monkeypatch.setattr(after_restore, "open_fleet", lambda *_: nullcontext())
        monkeypatch.setattr(after_restore, "contact_hosts", self.ask)

    def ask(self, *_: object, epoch: int, **more: object) -> dict[str, HostFacts | RocksError]:
        """Raise the epochs of the hosts that are not busy; the facts."""
        answers: dict[str, HostFacts | RocksError] = {}
        for host, seen in self.epochs.items():
            if epoch > seen and host in self.busy:
                answers[host] = BusyError("virtual machines are being started")
                continue
            self.epochs[host] = max(seen, epoch)
            fields = (1, 1, True, True, (), (), ())
            answers[host] = HostFacts(*fields, epoch=self.epochs[host])  # type: ignore[arg-type]
        return answers


def test_a_comparison_without_findings_changes_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while a host is busy: its epoch is not raised."""
    hosts = Hosts(monkeypatch)
    grant(database)
    before = read_epoch(database)
    hosts.busy = {"h2"}
    after_restore.compare_leases(database, print)
    assert read_epoch(database) == read_record(database) == before
    assert hosts.epochs == {"h1": 0, "h2": 0}


def test_an_impossible_epoch_is_the_error_of_its_host_alone(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = Hosts(monkeypatch)
    hosts.epochs["h1"] = 10**6
    before = read_epoch(database)
    with pytest.raises(
        StateError, match="h1 reports lease epoch 1000000 .*, which no cluster database of this site"
    ):
        after_restore.compare_leases(database, print)
    assert hosts.epochs["h2"] == 0
    assert read_epoch(database) == read_record(database) == before


def test_a_comparison_that_was_cut_off_is_repeated_by_the_next_start(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One host has the new epoch, another not yet: until both have it, no lease is granted."""
    hosts = Hosts(monkeypatch)
    hosts.epochs["h1"], hosts.busy = 3, {"h2"}
    with pytest.raises(StateError, match="h2"):
        after_restore.compare_leases(database, print)
    assert hosts.epochs == {"h1": 4, "h2": 0}
    assert not read_epoch(database).follows(read_record(database))
    hosts.busy = set()
    ensure_epoch(database, print)
    assert set(hosts.epochs.values()) == {read_epoch(database).epoch}
    assert read_epoch(database) == read_record(database)
