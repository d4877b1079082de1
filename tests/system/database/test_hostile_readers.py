"""A local user who may only read tries to hold up the commands of root."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence

import pymysql  # noqa: TID251 - a reader does not use `Database`
import pytest

from rocks.cli.main import main
from rocks.database import blockers, grants
from rocks.database.connection import Database
from rocks.database.grants import ALL_LOCAL_USERS, MAX_CONNECTIONS, bound_reads
from rocks.database.migrate import bring_up_to_date
from rocks.database.settings import Settings
from tests.system.database.test_grants import NOBODY, grant_readers
from tests.waiting import at_once, wait_until

ATTACKS = (
    "SELECT * FROM nodes FOR UPDATE",
    "SELECT * FROM vm_leases FOR UPDATE",
    "SELECT * FROM lease_epoch LOCK IN SHARE MODE",
    "SELECT GET_LOCK('cluster:vm vm-vc1-0', 0), GET_LOCK('vm vm-vc1-0', 0)",
    "LOCK TABLES nodes READ",
    "FLUSH TABLES WITH READ LOCK",
    "BACKUP STAGE START",
    "HANDLER vm_leases OPEN",
    "CREATE TEMPORARY TABLE filling (a INT)",
    "SET SESSION max_statement_time = 0, lock_wait_timeout = 86400",
)


class Attacker:
    """A process of the user nobody."""

    def __init__(
        self, settings: Settings, attack: Callable[[Callable[[], pymysql.Connection], int], None]
    ) -> None:
        reading, writing = os.pipe()
        self.process_id = os.fork()
        if self.process_id == 0:
            try:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
                attack(
                    lambda: pymysql.connect(
                        unix_socket=settings.socket,
                        user="nobody",
                        database=settings.database,
                        ssl_disabled=True,
                    ),
                    writing,
                )
            finally:
                os._exit(0)
        os.close(writing)
        self.ready = os.read(reading, 20).decode()
        os.close(reading)

    def end(self) -> None:
        """Kill it."""
        os.kill(self.process_id, signal.SIGKILL)
        os.waitpid(self.process_id, 0)


@pytest.fixture
def readable(cluster_database: Settings) -> Iterator[Settings]:
    """A database with a host and a lease that all local users may read."""
    grant_readers(cluster_database, [ALL_LOCAL_USERS])
    with Database(cluster_database) as database:
        database.execute("INSERT INTO nodes (Name) VALUES ('victim')")
        database.execute("INSERT INTO vm_leases (Name, Token) VALUES ('vm-vc1-0', 1)")
        database.commit()
    yield cluster_database
    with Database(cluster_database) as database:
        database.execute("DROP USER IF EXISTS ''@localhost")


def hold_all(connect: Callable[[], pymysql.Connection], writing: int) -> None:
    """Every attack in a transaction of its own, again and again when a connection is ended."""
    held: list[pymysql.Connection | None] = [None] * len(ATTACKS)
    first = True
    while True:
        for number, attack in enumerate(ATTACKS):
            try:
                connection = held[number]
                if connection is None:
                    held[number] = connection = connect()
                    connection.cursor().execute("SET SESSION innodb_lock_wait_timeout = 1")
                    connection.begin()
                    connection.cursor().execute(attack)
                connection.cursor().execute("SELECT COUNT(*) FROM nodes")
            except pymysql.err.MySQLError as error:
                if error.args[0] in (0, 2006, 2013, 1927):
                    held[number] = None
        if first:
            os.write(writing, b"ready")
            first = False


def occupy(connect: Callable[[], pymysql.Connection], writing: int) -> None:
    """As many idle connections as the server gives."""
    held = []
    try:
        while len(held) < 300:
            held.append(connect())
    except pymysql.err.MySQLError:
        pass
    os.write(writing, str(len(held)).encode())
    signal.pause()


def test_locks_of_a_reader_do_not_hold_up_root(readable: Settings) -> None:
    attacker = Attacker(readable, hold_all)
    try:
        assert attacker.ready == "ready"
        with Database(readable) as root:
            root.lock("vm vm-vc1-0", 0)
            root.execute("UPDATE nodes SET CPUs = 11 WHERE Name = 'victim'")
            root.execute("UPDATE vm_leases SET Token = Token + 1")
            root.execute("UPDATE lease_epoch SET Serial = Serial + 1")
            root.commit()
            assert root.rows("SELECT CPUs FROM nodes WHERE Name = 'victim'") == [(11,)]
    finally:
        attacker.end()


@pytest.mark.slow
def test_open_transactions_of_a_reader_do_not_hold_up_an_upgrade(readable: Settings) -> None:
    attacker = Attacker(readable, hold_all)
    try:
        with Database(readable) as root:
            root.execute("ALTER TABLE nodes ADD COLUMN Later INT")
            root.execute("ALTER TABLE nodes DROP COLUMN Later")
        report = bring_up_to_date(readable, "/nowhere")  # type: ignore[arg-type]
        assert report.before == report.after
    finally:
        attacker.end()


def test_idle_connections_of_readers_leave_enough_for_root(readable: Settings) -> None:
    attacker = Attacker(readable, occupy)
    try:
        assert int(attacker.ready) == MAX_CONNECTIONS

        def work(_: int) -> list[tuple[object, ...]]:
            with Database(readable) as root:
                return root.rows("SELECT COUNT(*) FROM nodes WHERE Name = 'victim'")

        assert at_once(work, range(40)) == [[(1,)]] * 40
    finally:
        attacker.end()


_COLUMNS = "information_schema.COLUMNS"
LONG = f"SELECT COUNT(*) FROM {_COLUMNS} a, {_COLUMNS} b, {_COLUMNS} c, {_COLUMNS} d"


def read_long(before: Sequence[str]) -> Callable[[Callable[[], pymysql.Connection], int], None]:
    """An attack: a statement that takes hours, after these; its error number is what `ready` gets."""

    def attack(connect: Callable[[], pymysql.Connection], writing: int) -> None:
        cursor = connect().cursor()
        for statement in before:
            cursor.execute(statement)
        try:
            cursor.execute(LONG)
        except pymysql.err.MySQLError as error:
            os.write(writing, str(error.args[0]).encode())

    return attack


@pytest.mark.slow
def test_a_long_statement_of_a_reader_ends_by_itself(
    readable: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grants, "LONGEST_READ_SECONDS", 2)
    grant_readers(readable, [ALL_LOCAL_USERS])
    attacker = Attacker(readable, read_long(()))
    attacker.end()
    assert attacker.ready == "1969", "the query was interrupted: max_statement_time"


@pytest.mark.slow
def test_a_reader_that_lifts_its_limit_is_ended_by_the_server(
    readable: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root's own long statement is not."""
    monkeypatch.setattr(grants, "LONGEST_READ_SECONDS", 1)
    monkeypatch.setattr(grants, "_LOOK_SECONDS", 1)
    with Database(readable) as root:
        assert bound_reads(root, readable.database)
    with Database(readable) as root:
        attacker = Attacker(readable, read_long(["SET SESSION max_statement_time = 0"]))
        attacker.end()
        assert attacker.ready in ("2013", "2006"), "the connection was ended"
        root.execute("SELECT SLEEP(4)")
        assert root.rows("SELECT COUNT(*) FROM nodes WHERE Name = 'victim'") == [(1,)]
        root.execute(f"DROP EVENT {grants.quoted(readable.database)}.end_long_reads")


@pytest.mark.slow
def test_another_command_of_root_is_waited_for_and_not_ended(
    readable: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although the command that waits ends readers meanwhile."""
    rounds: list[object] = []
    end_readers = blockers._end_readers
    monkeypatch.setattr(blockers, "_end_readers", lambda *how: (end_readers(*how), rounds.append(how)))
    with Database(readable) as one, Database(readable) as other:
        one.execute("UPDATE nodes SET CPUs = 12 WHERE Name = 'victim'")
        waiting = threading.Thread(
            target=lambda: other.execute("UPDATE nodes SET CPUs = 13 WHERE Name = 'victim'")
        )
        waiting.start()
        wait_until(lambda: len(rounds) == 2)
        assert waiting.is_alive()
        one.commit()
        waiting.join(120)
        other.commit()
        assert one.rows("SELECT CPUs FROM nodes WHERE Name = 'victim'") == [(13,)]


@pytest.mark.slow
def test_commands_of_root_succeed_under_all_attacks_at_once(
    readable: Settings, cluster_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in cluster_environment.items():
        monkeypatch.setenv(name, value)
    attackers = [Attacker(readable, hold_all), Attacker(readable, occupy)]
    try:
        for line in (
            "add host compute-0-0 membership=Compute rack=0 rank=0 cpus=2",
            "set host attr compute-0-0 color red",
            "set host cpus compute-0-0 4",
            "remove host compute-0-0",
        ):
            assert main(line.split()) == 0, line
    finally:
        for attacker in attackers:
            attacker.end()
