"""`Database` on a real server."""

import socket
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from lab.mariadb import MariadbPlace, start, stop
from rocks.core.errors import BugError, BusyError, HostError, ToolError, UserError
from rocks.database.backup import copy_database
from rocks.database.connection import Database, TracedDatabase, UnconfiguredDatabase
from rocks.database.migrate import bring_up_to_date
from rocks.database.settings import Settings
from rocks.inventory.attributes import secret_records
from tests.generated import examples
from tests.servers import free_port


def names(database: Database) -> list[str]:
    return [name for (name,) in database.rows("SELECT Name FROM nodes ORDER BY ID")]


def test_changes_are_invisible_to_others_before_the_commit(database: Database, other: Database) -> None:
    assert names(other) == []
    database.execute("INSERT INTO nodes (Name) VALUES (%s)", ("a",))
    assert names(database) == ["a"]
    assert names(other) == []
    database.commit()
    assert names(other) == ["a"], "READ COMMITTED: no new transaction is needed to see it"


def test_rows_are_fetched_after_execute_as_in_rocks(database: Database) -> None:
    assert (database.fetchone(), database.fetchall()) == (None, [])
    database.execute("INSERT INTO nodes (Name) VALUES ('a'), ('b'), ('c')")
    assert database.execute("SELECT Name FROM nodes ORDER BY Name") == 3
    assert (database.fetchone(), database.fetchall(), database.fetchone()) == (("a",), [("b",), ("c",)], None)
    database.rollback()
    database.execute("SELECT Name FROM nodes")
    assert (database.fetchall(), database.has_changes) == ([], False)


def test_rollback_and_close_undo_changes(database: Database, cluster_database: Settings) -> None:
    database.execute("INSERT INTO nodes (Name) VALUES ('a')")
    database.rollback()
    assert names(database) == []
    with Database(cluster_database) as second:
        second.execute("INSERT INTO nodes (Name) VALUES ('b')")
    assert names(database) == []


def test_a_transaction_without_statements_is_not_ended(database: Database) -> None:
    count = "SHOW SESSION STATUS WHERE Variable_name IN ('Com_commit', 'Com_rollback')"
    for _ in range(2):  # the first ends what the connection has read, if there is one
        database.commit()
        database.rollback()
        database.end_reading()
    before = dict(database.rows(count))
    for end in (database.commit, database.commit, database.rollback, database.end_reading):
        end()
    after = dict(database.rows(count))
    assert {name: int(after[name]) - int(before[name]) for name in after} == {
        "Com_commit": 1,
        "Com_rollback": 0,
    }


def test_work_after_the_commit_waits_for_its_own_changes(database: Database) -> None:
    """An end of reading before the first change neither does it nor forgets it, with an audit entry on the way too."""
    done: list[list[str]] = []
    database.after_commit(lambda: done.append(names(database)))
    names(database)
    database.end_reading()
    database.at_next_commit(lambda: database.execute("INSERT INTO nodes (Name) VALUES ('entry')") and None)
    database.end_reading()
    assert done == []
    database.execute("INSERT INTO nodes (Name) VALUES ('a')")
    database.end_reading()
    database.commit()
    database.commit()
    assert done == [["entry", "a"]]
    database.after_commit(lambda: done.append([]))
    database.rollback()
    database.commit()
    assert len(done) == 1


@pytest.mark.parametrize("error", [UserError, BusyError, ValueError, KeyboardInterrupt])
def test_work_after_the_commit_is_all_done_though_some_fails(
    database: Database, error: type[BaseException]
) -> None:
    """The first error is raised; the changes are committed, and nothing is left for the next commit."""
    done: list[str] = []

    def fail(text: str, kind: type[BaseException]) -> None:
        done.append(text)
        raise kind(text)

    database.after_commit(lambda: fail("first", error))
    database.after_commit(lambda: fail("second", HostError))
    database.after_commit(lambda: done.append("third"))
    insert(database, "a")
    with pytest.raises(error, match="first"):
        database.commit()
    database.commit()
    assert (names(database), done) == (["a"], ["first", "second", "third"])


def test_an_interrupt_of_work_after_the_commit_is_no_error_of_other_work(database: Database) -> None:
    def fail(error: BaseException) -> None:
        raise error

    database.after_commit(lambda: fail(HostError("first")))
    database.after_commit(lambda: fail(KeyboardInterrupt("second")))
    insert(database, "a")
    with pytest.raises(KeyboardInterrupt, match="second"):
        database.commit()


def test_work_after_the_commit_outlives_a_selector(database: Database) -> None:
    done: list[str] = []
    database.after_commit(lambda: done.append("done"))
    with pytest.raises(UserError), database.read_only():
        database.execute("DELETE FROM nodes")
    assert (done, database.has_changes) == ([], False)
    database.commit()
    assert done == ["done"]


def insert(database: Database, name: str) -> None:
    database.execute("INSERT INTO nodes (Name) VALUES (%s)", (name,))


@pytest.mark.parametrize("error", [UserError, BusyError, ValueError, KeyboardInterrupt])
def test_a_part_is_undone_whatever_it_raises(database: Database, error: type[BaseException]) -> None:
    done: list[str] = []
    insert(database, "before")
    with pytest.raises(error), database.part():
        insert(database, "inside")
        database.after_commit(lambda: done.append("inside"))
        raise error("no")
    database.commit()
    assert (names(database), done) == (["before"], [])


def test_the_parts_of_a_part_are_undone_each_or_together(database: Database) -> None:
    with database.part():
        insert(database, "kept")
        with pytest.raises(UserError), database.part():
            insert(database, "inner")
            raise UserError("no")
    with pytest.raises(UserError), database.part():
        insert(database, "outer")
        with database.part():
            insert(database, "inner")
        raise UserError("no")
    database.commit()
    assert names(database) == ["kept"]


@pytest.mark.parametrize("error", [BusyError, KeyboardInterrupt])
def test_the_error_of_a_part_outlives_its_transaction(database: Database, error: type[BaseException]) -> None:
    """Two commands that wait for each other: the database ends the transaction, and the savepoint with it."""
    with pytest.raises(error), database.part():
        insert(database, "inside")
        database.rollback()
        raise error("no")
    assert names(database) == []


def test_a_trace_shows_no_bound_value(cluster_database: Settings, capfd: pytest.CaptureFixture[str]) -> None:
    with TracedDatabase(cluster_database) as traced:
        secret_records.store(traced, None, "ipmi_password", "hunter2")
        traced.commit()
    printed = capfd.readouterr().err
    assert "VALUES (%s, %s) (2 values)" in printed and "hunter2" not in printed


def test_a_trace_shows_the_rollbacks_that_are_sent(
    cluster_database: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    with TracedDatabase(cluster_database) as traced:
        for end, expected in ((traced.end_command, 1), (traced.rollback, 1), (traced.close, 0)):
            names(traced)
            end()
            traced.rollback()
            assert capfd.readouterr().err.count("SQL: ROLLBACK") == expected, end


def test_without_settings_every_use_is_their_error() -> None:
    unconfigured = UnconfiguredDatabase(UserError("no settings"))
    uses = (lambda: names(unconfigured), lambda: unconfigured.lock("vm a", 0), lambda: unconfigured.settings)
    for use in uses:
        with pytest.raises(UserError, match="no settings"):
            use()
    unconfigured.close()


def test_the_next_statement_reopens_a_closed_connection(database: Database) -> None:
    assert database.rows("SELECT 1") == [(1,)]
    database.close()
    database.close()
    assert database.rows("SELECT 2") == [(2,)]


def test_many_rows_are_one_statement(database: Database) -> None:
    database.rows("SELECT 1")
    for count in (1, 500):
        before = database.statements
        rows = ((f"host-{count}-{i}", i) for i in range(count))
        assert database.insert_many("INSERT INTO nodes (Name, Rank) VALUES", rows) == count
        assert database.statements == before + 1


def test_no_rows_are_no_statement(database: Database) -> None:
    before = database.statements
    assert database.insert_many("INSERT INTO nodes (Name) VALUES", []) == 0
    assert database.statements == before


def test_suffix_specifies_what_happens_to_existing_rows(database: Database) -> None:
    prefix, suffix = "INSERT INTO nodes (Name, Rank) VALUES", "ON DUPLICATE KEY UPDATE Rank = VALUES(Rank)"
    database.insert_many(prefix, [("a", 1)], suffix)
    database.insert_many(prefix, [("a", 2), ("b", 3)], suffix)
    assert database.rows("SELECT Name, Rank FROM nodes ORDER BY Name") == [("a", 2), ("b", 3)]


def test_affected_rows_are_those_that_changed(database: Database) -> None:
    database.insert_many("INSERT INTO nodes (Name, Rank) VALUES", [("a", 1), ("b", 2)])
    assert database.execute("UPDATE nodes SET Rank = 2") == 1
    assert database.execute("UPDATE nodes SET Rank = 2") == 0
    assert database.execute("DELETE FROM nodes WHERE Name LIKE %s", ("%",)) == 2


def test_percent_is_literal_without_values(database: Database) -> None:
    assert database.rows("SELECT 'a' LIKE '%a'") == [(1,)]
    assert database.rows("SELECT %s LIKE '%%a'", ("ba",)) == [(1,)]


@pytest.mark.slow
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(60))
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=128))
def test_any_text_survives(database: Database, text: str) -> None:
    database.execute("INSERT INTO vm_fences (Host, Name, Token) VALUES ('h', 'n', 1)")
    database.execute("UPDATE vm_fences SET Host = %s", (text,))
    assert database.rows("SELECT Host FROM vm_fences") == [(text,)]
    database.rollback()


def test_invalid_text_raises_an_error(database: Database) -> None:
    with pytest.raises(UserError, match="is not valid text: give it in UTF-8"):
        database.rows("SELECT %s", ("\udcff",))


@pytest.mark.parametrize(
    ("column", "value"),
    [("Name", "n" * 129), ("Rank", "many"), ("Rank", 2**31), ("OS", "plan9"), ("CPUs", None)],
)
def test_too_long_value_raises_an_error_and_is_not_truncated(
    database: Database, column: str, value: object
) -> None:
    database.execute("INSERT INTO nodes (Name) VALUES ('a')")
    with pytest.raises((UserError, ToolError), match=column):
        database.execute(f"UPDATE nodes SET {column} = %s", (value,))
    assert names(database) == ["a"]


def test_the_error_names_a_duplicate_value(database: Database) -> None:
    database.execute("INSERT INTO nodes (Name) VALUES ('web-1')")
    with pytest.raises(BusyError, match="Duplicate entry 'WEB-1' for key 'Name'"):
        database.execute("INSERT INTO nodes (Name) VALUES ('WEB-1')")


@pytest.mark.slow
def test_a_row_that_another_command_holds_ends_with_a_busy_error(
    database: Database, other: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rocks.database.blockers.ATTEMPTS", 2)
    database.insert_many("INSERT INTO nodes (Name) VALUES", [("a",), ("b",)])
    database.commit()
    database.execute("UPDATE nodes SET Rank = 1 WHERE Name = 'a'")
    with pytest.raises(BusyError, match="another command holds the same rows"):
        other.execute("UPDATE nodes SET Rank = 2 WHERE Name = 'a'")


@pytest.mark.parametrize(
    "text",
    [
        "INSERT INTO nodes (Name) VALUES ('x')",
        "UPDATE nodes SET Rank = 9",
        "DELETE FROM nodes",
        "DROP TABLE nodes",
        "CREATE TABLE x (i INT)",
        " create or replace view vnet as select 1",
        "COMMIT",
        "SET STATEMENT max_statement_time=1 FOR DELETE FROM nodes",
        "TRUNCATE nodes",
        "SELECT Name FROM nodes INTO OUTFILE '/tmp/rocks-should-not-exist'",
        "SELECT Name FROM nodes; DELETE FROM nodes",
        "SELECT Nam FROM nodes",
        "SELECT Name FROM absent",
        "SELECT (",
    ],
)
def test_selector_other_than_a_plain_select_is_a_user_error_and_changes_nothing(
    database: Database, text: str
) -> None:
    database.execute("INSERT INTO nodes (Name) VALUES ('a')")
    database.commit()
    with pytest.raises(UserError, match="selector"), database.read_only():
        database.rows(text)
    assert names(database) == ["a"]
    assert database.execute("UPDATE nodes SET Rank = 1") == 1, "afterwards changes are possible again"


def test_endless_selector_is_aborted(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rocks.database.connection.SELECTOR_SECONDS", 0.2)
    # a cross join without end; SLEEP would return early without an error
    endless = (
        "SELECT COUNT(*) FROM information_schema.COLUMNS a, information_schema.COLUMNS b, seq_1_to_100000000"
    )
    with pytest.raises(UserError, match="selector"), database.read_only():
        database.rows(endless)
    assert database.rows("SELECT @@max_statement_time") == [(0,)]


def test_selector_between_a_change_and_its_commit_is_a_bug(database: Database) -> None:
    database.execute("INSERT INTO nodes (Name) VALUES ('a')")
    with pytest.raises(BugError, match="between a change and its commit"), database.read_only():
        database.rows("SELECT 1")
    database.rollback()
    with database.read_only() as reader:
        assert reader.rows("SELECT 1") == [(1,)]


def test_password_by_the_socket_is_used_for_statements_and_copies(
    database: Database, cluster_database: Settings, tmp_path: Path
) -> None:
    password = "it's \u00e4 secret"
    database.execute("CREATE USER keeper@localhost IDENTIFIED BY %s", (password,))
    database.execute("GRANT ALL ON *.* TO keeper@localhost")
    keeper = cluster_database._replace(user="keeper", password=password)
    try:
        with Database(keeper) as own:
            assert own.rows("SELECT CURRENT_USER()") == [("keeper@localhost",)]
        with pytest.raises(HostError, match="Access denied for user 'keeper'@'localhost'"):
            Database(keeper._replace(password="wrong")).rows("SELECT 1")
        copy_path = copy_database(keeper, tmp_path, "copy.sql")
        assert b"CREATE TABLE `nodes`" in copy_path.read_bytes()
    finally:
        database.execute("DROP USER keeper@localhost")


def test_absent_server(tmp_path: Path, mariadb: Settings) -> None:
    absent = mariadb._replace(socket=str(tmp_path / "absent.sock"))
    with pytest.raises(HostError, match=r"absent\.sock: the socket does not exist; start the database, or"):
        Database(absent).rows("SELECT 1")
    nobody_listens = mariadb._replace(socket=None, host="127.0.0.1", port=free_port())
    with pytest.raises(
        HostError, match="cannot reach the cluster database at 127.0.0.1:.*: Connection refused"
    ):
        Database(nobody_listens).rows("SELECT 1")
    unknown = mariadb._replace(socket=None, host="no-such-host.invalid")
    with pytest.raises(HostError, match=r"no-such-host\.invalid:3306"):
        Database(unknown).rows("SELECT 1")


@pytest.mark.slow
def test_silent_server_times_out(mariadb: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rocks.database.connection.driver.open_connection.__defaults__", (1,))
    folder = Path(tempfile.mkdtemp())  # a short path: a socket's may not be long
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(folder / "s"))
        silent.listen()
        with pytest.raises(HostError, match="timed out"):
            Database(mariadb._replace(socket=str(folder / "s"))).rows("SELECT 1")
    (folder / "s").unlink()
    folder.rmdir()


@pytest.mark.slow
def test_server_that_ends_between_statements(private_server: MariadbPlace, tmp_path: Path) -> None:
    socket_path, folder = str(private_server.socket_path), str(tmp_path / "state")
    settings = Settings(socket_path, "localhost", 3306, "root", "", "cluster", folder)
    start(private_server, ends_with_starter=True)
    bring_up_to_date(settings, tmp_path)
    with Database(settings) as database:
        database.execute("INSERT INTO nodes (Name) VALUES ('a')")
        stop(private_server)
        with pytest.raises(HostError, match="lost the cluster database .* uncommitted changes are undone"):
            database.commit()
        with pytest.raises(HostError):
            database.rows("SELECT 1")
    start(private_server, ends_with_starter=True)
    with Database(settings) as database:
        assert names(database) == []
