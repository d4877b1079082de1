"""Privileges of other users of the machine, and their authentication."""

import os
import pickle
from collections.abc import Callable, Iterator

import pytest

from rocks.core.errors import HostError, RocksError, UserError
from rocks.database.connection import Database
from rocks.database.grants import ALL_LOCAL_USERS, apply_grants
from rocks.database.migrate import bring_up_to_date, load_migrations
from rocks.database.settings import Settings

NOBODY = 65534


def as_nobody(operation: Callable[[], object]) -> object:
    """What `operation` returns in a process of the user nobody; its RocksError is raised here."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            result: object = operation()
        except BaseException as error:
            result = error
        with os.fdopen(writing, "wb") as pipe:
            pickle.dump(result, pipe)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        result = pickle.load(pipe)
    os.waitpid(child, 0)
    if isinstance(result, RocksError):
        raise result
    assert not isinstance(result, BaseException), result
    return result


def grant_readers(settings: Settings, names: list[str]) -> None:
    """Let these accounts read, as an upgrade of the database does."""
    with Database(settings) as database:
        apply_grants(database, settings.database, names)


def asked(settings: Settings, sql: str) -> object:
    return as_nobody(lambda: Database(settings).rows(sql))


@pytest.fixture
def as_reader(cluster_database: Settings) -> Iterator[Settings]:
    """The settings of user nobody; its accounts, which belong to the whole server, are removed afterwards."""
    with Database(cluster_database) as database:
        # Loads all that a query needs: the checkout may lie where nobody cannot read.
        database.rows("SELECT 1")
    yield cluster_database._replace(user="nobody")
    with Database(cluster_database) as database:
        database.execute("DROP USER IF EXISTS nobody@localhost, ''@localhost")


def test_without_a_grant_only_root_can_connect(as_reader: Settings) -> None:
    with pytest.raises(HostError, match="Access denied for user 'nobody'.*; run this as root, or run"):
        asked(as_reader, "SELECT 1")


@pytest.mark.slow
@pytest.mark.parametrize("account", ["nobody", ALL_LOCAL_USERS])
def test_reader_sees_all_except_secrets_and_changes_nothing(
    cluster_database: Settings, as_reader: Settings, account: str
) -> None:
    grant_readers(cluster_database, [account])
    with Database(cluster_database) as database:
        database.execute("INSERT INTO nodes (Name) VALUES ('a')")
        database.execute("INSERT INTO sec_global_attributes VALUES ('root_pw', 'secret', 'crypt')")
        database.commit()
        tables = [name for (name,) in database.rows("SHOW TABLES")]
    assert asked(as_reader, "SELECT Name FROM nodes") == [("a",)]
    assert asked(as_reader, "CALL resolvefirewalls('a', 'default')") == []
    for table in tables:
        if table.startswith("sec_"):
            with pytest.raises(UserError, match=r"to user nobody: SELECT command denied .*; run it as root"):
                asked(as_reader, f"SELECT * FROM {table}")
        else:
            asked(as_reader, f"SELECT * FROM {table}")
    assert sum(table.startswith("sec_") for table in tables) == 5
    for change in (
        "INSERT INTO nodes (Name) VALUES ('b')",
        "UPDATE vm_leases SET Token = 9",
        "DROP TABLE nodes",
    ):
        with pytest.raises(UserError, match="command denied"):
            asked(as_reader, change)


def test_reader_sees_no_other_database(cluster_database: Settings, as_reader: Settings) -> None:
    grant_readers(cluster_database, [ALL_LOCAL_USERS])
    with pytest.raises(UserError, match="denied"):
        asked(as_reader, "SELECT * FROM mysql.global_priv")


def test_no_user_can_connect_under_another_name(cluster_database: Settings, as_reader: Settings) -> None:
    grant_readers(cluster_database, [ALL_LOCAL_USERS, "daemon"])
    for name in ("root", "daemon", "no-such-user"):
        with pytest.raises(HostError, match="Access denied"):
            asked(as_reader._replace(user=name), "SELECT 1")
    assert asked(as_reader, "SELECT USER()") == [("nobody@localhost",)]
    with Database(cluster_database) as database:
        database.execute("DROP USER daemon@localhost")


def test_update_renews_the_privileges_of_present_readers_and_grants_new_ones(
    cluster_database: Settings, as_reader: Settings
) -> None:
    folder_that_is_not_used = "/nowhere"
    grant_readers(cluster_database, ["nobody"])
    with Database(cluster_database) as database:
        database.execute("CREATE TABLE of_another_roll (ID INT)")
    with pytest.raises(UserError, match="denied"):
        asked(as_reader, "SELECT * FROM of_another_roll")
    lines: list[str] = []
    bring_up_to_date(cluster_database, folder_that_is_not_used, lines.append)  # type: ignore[arg-type]
    assert asked(as_reader, "SELECT * FROM of_another_roll") == []
    assert lines[-1].endswith("except its sec_ tables: nobody")
    bring_up_to_date(cluster_database, folder_that_is_not_used, lines.append, readers=[ALL_LOCAL_USERS])  # type: ignore[arg-type]
    assert lines[-1].endswith("except its sec_ tables: all local users")
    assert asked(as_reader, "SELECT MAX(Version) FROM schema_migrations") == [
        (load_migrations()[-1].version,)
    ]


def test_reader_cannot_upgrade(cluster_database: Settings, as_reader: Settings) -> None:
    grant_readers(cluster_database, [ALL_LOCAL_USERS])
    last = load_migrations()[-1]
    newer = [
        *load_migrations(),
        last._replace(version=last.version + 1, statements=("DROP TABLE nodes",)),
    ]
    with pytest.raises((UserError, RocksError), match="for root only; run this as root"):
        as_nobody(lambda: bring_up_to_date(as_reader, "/nowhere", migrations=newer))  # type: ignore[arg-type]
    with Database(cluster_database) as database:
        assert database.rows("SELECT COUNT(*) FROM nodes") == [(0,)]
