"""Named locks between two commands, and the server's own one for the next number of a table."""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from rocks.core.errors import BusyError
from rocks.database.connection import Database
from rocks.database.settings import Settings
from tests.waiting import at_once, wait_until


def test_second_command_gets_a_busy_error_with_the_name_after_its_waiting_time(
    database: Database, other: Database
) -> None:
    database.lock("vm vm-vc1-0", 1)
    began = time.monotonic()
    message = rf"at work on vm VM-vc1-0 \(waited 0\.3 s\); .* \(process {os.getpid()}: .*, since .* UTC\)$"
    with pytest.raises(BusyError, match=message):
        other.lock("vm VM-vc1-0", 0.3)
    assert time.monotonic() - began > 0.25
    other.lock("vm vm-vc1-1", 0)


def test_lock_outlives_commit_and_rollback_and_ends_with_unlock(database: Database, other: Database) -> None:
    database.lock("vm a", 1)
    database.commit()
    database.rollback()
    with pytest.raises(BusyError):
        other.lock("vm a", 0)
    database.unlock("vm a")
    other.lock("vm a", 0)


def test_lock_of_a_killed_command_is_free(database: Database, other: Database) -> None:
    database.lock("vm a", 1)
    waiting = threading.Thread(target=lambda: other.lock("vm a", 120))
    waiting.start()
    database.close()
    waiting.join(120)
    assert not waiting.is_alive()
    with pytest.raises(BusyError):
        database.lock("vm a", 0)


def test_all_or_none_without_a_statement(database: Database, other: Database) -> None:
    names = [f"vm vm-vc1-{i}" for i in range(64)]
    database.lock(names[40], 1)
    with pytest.raises(BusyError, match=f"at work on {names[40]} "):
        other.lock_all(names, 0.1)
    database.lock_all([name for name in names if name != names[40]], 0)
    database.unlock_all(names)
    other.lock_all(names, 1)
    other.unlock_all(names)
    assert other.statements == 0


@pytest.mark.slow
def test_waiting_time_is_for_all_locks_together(database: Database, other: Database) -> None:
    names = [f"vm {i}" for i in range(10)]
    database.lock_all(names, 1)
    began = time.monotonic()
    with pytest.raises(BusyError, match="(vm [0-9], ){9}"):
        other.lock_all(names, 3)
    assert time.monotonic() - began < 24, "the ten locks had three seconds each"


def test_commands_that_take_the_same_locks_in_another_order_do_not_deadlock(
    cluster_database: Settings,
) -> None:
    def work(number: int) -> None:
        names = [f"vm {i}" for i in range(8)]
        with Database(cluster_database) as own:
            for _ in range(10):
                own.lock_all(names if number % 2 else names[::-1], 20)
                own.unlock_all(names)

    assert at_once(work, range(4)) == [None] * 4


def test_locks_of_two_databases_of_one_server_are_independent(
    database: Database, other: Database, mariadb: Settings
) -> None:
    database.lock("vm a", 1)
    settings = mariadb._replace(database="another")
    with Database(settings) as elsewhere, Database(settings) as waiting:
        elsewhere.lock("vm a", 0)
        for held in (other, waiting):
            with pytest.raises(BusyError, match="vm a"):
                held.lock("vm a", 0)
        elsewhere.unlock("vm a")
        waiting.lock("vm a", 0)
        with pytest.raises(BusyError, match="vm a"):
            other.lock("vm a", 0)


def test_longest_name_is_accepted(database: Database, other: Database) -> None:
    name = "vm " + "ü" * 125
    database.lock(name, 1)
    with pytest.raises(BusyError):
        other.lock(name, 0)


def test_a_lock_of_the_server_that_any_reader_can_take_stops_nobody(
    database: Database, other: Database
) -> None:
    for key in ("vm a", f"{database.settings.database}:vm a"):
        assert other.rows("SELECT GET_LOCK(%s, 0)", [key]) == [(1,)]
    database.lock("vm a", 0)


def test_locks_end_with_their_process_however_it_ends(cluster_database: Settings, other: Database) -> None:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        Database(cluster_database).lock("vm a", 0)
        os.write(writing, b"x")
        signal.pause()
    os.read(reading, 1)
    try:
        with pytest.raises(BusyError):
            other.lock("vm a", 0)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reading)
        os.close(writing)
    other.lock("vm a", 0)


@pytest.mark.slow
def test_the_next_number_of_a_table_is_waited_for(cluster_database: Settings, database: Database) -> None:
    """The second transaction holds it while it waits for the row of the first; the third one adds another row."""
    inserting = "INSERT INTO catindex (Name, Category) SELECT %s, ID FROM categories WHERE Name = 'host'"
    waiting = (
        "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE 'INSERT%SELECT%categories%'"
    )

    def insert_ignoring(name: str, seconds: int) -> None:
        with Database(cluster_database) as own:
            own.execute("SET SESSION innodb_lock_wait_timeout = %s", [seconds])
            own.execute(f"{inserting} ON DUPLICATE KEY UPDATE Category = Category", [name])
            own.commit()

    database.execute(inserting, ["a"])
    with ThreadPoolExecutor() as pool, Database(cluster_database) as looking:
        of_the_same = pool.submit(insert_ignoring, "a", 60)
        wait_until(lambda: of_the_same.done() or looking.rows(waiting) == [(1,)])
        of_another = pool.submit(insert_ignoring, "b", 1)
        time.sleep(1.5)  # the third one waits for a second, and is sent again
        database.commit()
        assert (of_the_same.result(), of_another.result()) == (None, None)
    assert database.rows("SELECT Name FROM catindex WHERE Name IN ('a', 'b') ORDER BY 1") == [("a",), ("b",)]
