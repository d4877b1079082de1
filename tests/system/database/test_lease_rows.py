"""The lease of one machine in MariaDB, and in the model that searches interleavings: the same cases."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rocks.database.connection import Database
from rocks.leases import after_restore
from rocks.leases import lease as leases
from rocks.network.infiniband import partitions
from tests.unit.leases.interleavings import programs

NAME = programs.NAME
Ask = Callable[..., Any]


class ModelRows(programs.Rows):
    """Without a model around it: what is committed stays here."""

    def read(self) -> programs.Rows:
        return self


@pytest.fixture(params=["model", "MariaDB"])
def ask(request: pytest.FixtureRequest) -> Iterator[Ask]:
    """Calls a function of `database.leases`."""
    if request.param == "model":
        rows = ModelRows()
        yield lambda function, *arguments: programs.TABLES[function](rows, *arguments)
        return
    database: Database = request.getfixturevalue("database")
    yield lambda function, *arguments: getattr(leases, function)(database, *arguments)


def state(ask: Ask) -> tuple[int, str | None, str] | None:
    lease = ask("read_leases", [NAME], True).get(NAME)
    return None if lease is None else (lease.token, lease.host, lease.state)


def test_a_lease_s_life(ask: Ask) -> None:
    assert state(ask) is None
    ask("set_state", [NAME], "running")
    ask("release_leases", [NAME])
    assert state(ask) is None
    assert ask("take_leases", {}) == {}
    assert ask("take_leases", {NAME: ("a", ())}) == {NAME: 1}
    assert state(ask) == (1, "a", "starting")
    ask("set_state", [NAME], "running")
    assert state(ask) == (1, "a", "running")
    ask("release_leases", [NAME], "a reason")
    assert state(ask) == (1, None, "released")
    ask("set_state", [NAME], "running")
    assert state(ask) == (1, None, "released"), "only held leases have a state of their host"
    assert ask("take_leases", {NAME: ("b", ())}) == {NAME: 2}
    assert ask("take_leases", {NAME: ("a", ())}) == {NAME: 3}
    assert state(ask) == (3, "a", "starting")
    for function in ("set_state", "release_leases"):
        ask(function, [], "stopping") if function == "set_state" else ask(function, [])
    assert state(ask) == (3, "a", "starting")


def reason(database: Database) -> str | None:
    return leases.read_leases(database, [NAME])[NAME].reason


def test_the_reason_of_a_stop_by_force_stays_until_the_machine_runs(database: Database) -> None:
    """A start that fails or is killed leaves it, so that what was taken from a host is not forgotten."""
    leases.take_leases(database, {NAME: ("a", ())})
    leases.release_leases(database, [NAME], "its host failed")
    leases.take_leases(database, {NAME: ("b", ())})
    assert reason(database) == "its host failed"
    leases.release_keeping_reasons(database, [NAME])
    assert (reason(database), leases.read_leases(database, [NAME])[NAME].state) == (
        "its host failed",
        "released",
    )
    leases.take_leases(database, {NAME: ("b", ())})
    leases.forget_reasons(database, [NAME])
    assert reason(database) == "its host failed", "only of a machine that is off"
    leases.set_state(database, [NAME], "running")
    assert reason(database) is None
    leases.release_leases(database, [NAME], "its host failed")
    leases.forget_reasons(database, [NAME])
    assert reason(database) is None


def test_a_lease_follows_the_spelling_of_the_name(database: Database) -> None:
    """A machine that is off can be renamed to its name in other case; the row cannot follow while others name it."""
    leases.take_leases(database, {NAME: ("a", ())})
    leases.release_leases(database, [NAME])
    other = NAME.upper()
    assert other != NAME and leases.take_leases(database, {other: ("b", ())}) == {NAME: 2}
    assert leases.read_leases(database, [other])[NAME].name == other


def test_a_lease_follows_the_spelling_beside_what_a_silent_host_has_of_it(database: Database) -> None:
    """Cores that it has until it confirms its fence, a key of InfiniBand, and disks: all name the lease."""
    other = NAME.upper()
    leases.take_leases(database, {NAME: ("a", [("a", "/vda")])})
    give_parts(database)
    leases.put_up_fences(database, [("a", NAME, 2)])
    leases.release_leases(database, [NAME], "a is silent")
    assert leases.take_leases(database, {other: ("b", ())}) == {NAME: 2}
    assert database.rows("SELECT Name, Cpu FROM vm_core_leases") == [(other, 7)], "until the host confirms it"
    leases.take_down_fences(database, "a", {(NAME, 2)})
    assert not database.rows("SELECT Name FROM vm_core_leases")


def test_a_machine_that_is_found_keeps_its_parts_under_its_spelling(database: Database) -> None:
    """Of a restored database; the comparison with the hosts ended in an error, and nothing started."""
    other = NAME.upper()
    leases.take_leases(database, {NAME: ("a", [("a", "/vda")])})
    give_parts(database)
    after_restore.record_found(database, [(other, 5, "a")])
    lease = leases.read_leases(database, [other])[NAME]
    assert (lease.name, lease.token, lease.state) == (other, 5, "running")
    assert database.rows("SELECT Name FROM ib_key_uses") == [(other,)]


def give_parts(database: Database) -> None:
    """A core, and a key of InfiniBand."""
    database.execute("INSERT INTO vm_core_leases (Host, Cpu, Name, Token) VALUES ('a', 7, %s, 1)", [NAME])
    partitions.record_uses(database, {NAME: 0x8001})


def test_fences(ask: Ask) -> None:
    ask("take_leases", {NAME: ("a", ())})
    assert ask("fences_of_hosts", ["a", "b"]) == {}
    ask("put_up_fences", [("a", NAME, 3)])
    ask("put_up_fences", [("a", NAME, 2), ("b", NAME, 5)])
    assert ask("fences_of_hosts", ["a", "b", "c"]) == {"a": [(NAME, 3)], "b": [(NAME, 5)]}
    assert ask("fences_of_hosts", []) == {}
    ask("take_down_fences", "a", [])
    ask("take_down_fences", "a", [(NAME, 2)])
    assert ask("fences_of_hosts", ["a"]) == {"a": [(NAME, 3)]}, "it was put up after that one was sent"
    ask("take_down_fences", "a", [(NAME, 3)])
    assert ask("fences_of_hosts", ["a", "b"]) == {"b": [(NAME, 5)]}
