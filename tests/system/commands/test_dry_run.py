"""`dry-run=yes` on the cluster database: its changes are seen by the command alone, and none is left."""

import os
from collections.abc import Iterator

import pytest

from rocks.cli.main import run_line
from rocks.core import dry_run
from rocks.core.errors import BusyError, StateError
from rocks.database import dry
from rocks.database.connection import Database
from rocks.database.dry import DryDatabase
from rocks.database.settings import Settings
from tests.system.commands.conftest import Site


@pytest.fixture
def tried(cluster_database: Settings) -> Iterator[DryDatabase]:
    """A database in a dry run."""
    dry_run.begin(lambda line: None)
    database = DryDatabase(cluster_database)
    yield database
    dry_run.end()
    database.finish()


def audited(site: Site) -> object:
    return site.rows("SELECT COUNT(*) FROM sec_audit")


@pytest.mark.parametrize(
    ("line", "rows"),
    [
        (("set", "host", "boot", "vmc-0-0", "action=os"), "boot"),
        (("add", "host", "alias", "vmc-0-0", "other"), "insert aliases (1 row)"),
        (("set", "host", "name", "vmc-0-0", "renamed"), "update nodes"),
        (("set", "host", "boot", "select name from nodes where name = 'vmc-0-0'", "action=os"), "boot"),
    ],
)
def test_rows_are_printed_and_not_changed(vm_site: Site, line: tuple[str, ...], rows: str) -> None:
    before, entries = vm_site.contents(), audited(vm_site)
    ended = vm_site.rocks(*line, "dry-run=yes")
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.startswith("cluster database: would ")
    assert rows in ended.out
    assert vm_site.contents() == before
    assert audited(vm_site) == entries


def test_a_wrong_use_is_refused_as_ever(vm_site: Site) -> None:
    line = ("set", "host", "boot", "vmc-0-0", "action=os")
    assert '"dry-run" is given twice' in vm_site.refused(*line, "dry-run=no", "dry-run=yes")
    assert '"dry-run" is given twice' in vm_site.refused(*line, "dry-run=yes", "dry-run=no")
    assert "nosuch" in vm_site.refused("set host boot nosuch action=os dry-run=yes")
    assert "cannot be tried: it is a service" in vm_site.refused("start service boot dry-run=yes")
    assert "cannot be tried: it reaches no host" in vm_site.refused("remove attr x dry-run=yes")


def test_a_line_of_a_shell_is_tried_and_the_next_one_is_done(
    vm_site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    before = vm_site.contents()
    line = ["add", "host", "alias", "vmc-0-0", "other"]
    with Database(vm_site.database.settings) as shared:
        assert run_line([*line, "dry-run=yes"], shared) == 0
        assert vm_site.contents() == before
        assert run_line(line, shared) == 0
    assert "insert aliases" in capsys.readouterr().out
    assert vm_site.contents() != before


def test_a_commit_is_seen_by_the_command_alone(vm_site: Site, tried: DryDatabase) -> None:
    before = vm_site.contents()
    insert = "INSERT INTO attributes (Category, Catindex, Attr, Value) VALUES (1, 1, %s, 'x')"
    tried.execute(insert, ("kept",))
    tried.commit()
    tried.execute(insert, ("undone",))
    tried.rollback()
    tried.close()
    count = "SELECT Attr FROM attributes WHERE Attr IN ('kept', 'undone')"
    assert tried.rows(count) == [("kept",)]
    assert vm_site.database.rows(count) == []
    assert dict(tried.changed) == {("insert", "attributes"): 1}
    with pytest.raises(StateError, match="selector"), tried.read_only():
        pass
    tried.finish()
    assert vm_site.contents() == before


def test_a_statement_that_the_server_would_commit_is_not_sent(vm_site: Site, tried: DryDatabase) -> None:
    before = vm_site.contents()
    tried.execute("DELETE FROM boot")
    tried.commit()
    with pytest.raises(dry_run.UnknownReplyError):
        tried.execute("CREATE TABLE dry (a INT)")
    tried.finish()
    assert vm_site.contents() == before
    assert vm_site.database.rows("SHOW TABLES LIKE 'dry'") == []


def test_named_locks_are_waited_for_and_not_taken(vm_site: Site, tried: DryDatabase) -> None:
    tried.lock("a name", 0)
    with dry_run.reading():
        vm_site.database.lock("a name", 0)
    with pytest.raises(BusyError, match="another command is at work on a name"):
        tried.lock("a name", 0)
    vm_site.database.unlock("a name")
    tried.lock("a name", 0)


def test_a_lock_that_another_command_holds_for_long_is_not_waited_for(
    vm_site: Site, tried: DryDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dry, "_LONGEST_WAIT_SECONDS", 0.1)
    with dry_run.reading():
        vm_site.database.lock("a name", 0)
    with pytest.raises(BusyError, match=rf"a name \(waited 0\.1 s\).* \(process {os.getpid()}: .*\)$"):
        tried.lock("a name", 60)
