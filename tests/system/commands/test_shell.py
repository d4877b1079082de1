"""`rocks shell` on a real database: one connection, a transaction for each line."""

import io
import sys
from types import SimpleNamespace

import pytest

from tests.command_trees import WriteCommand
from tests.system.commands.conftest import Ended, Site

SHOW = "self.addText(str(self.db.rows('SELECT CONNECTION_ID()')[0][0]))"


@pytest.fixture(autouse=True)
def show(write_command: WriteCommand) -> None:
    """`list number` prints the number of the connection."""
    write_command("list/number", SHOW)


def shell(site: Site, monkeypatch: pytest.MonkeyPatch, *lines: str) -> Ended:
    """The shell with these lines as its input."""
    content = "".join(f"{line}\n" for line in lines).encode()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: False, buffer=io.BytesIO(content)))
    return site.rocks("shell")


def test_all_lines_use_one_connection(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = shell(site, monkeypatch, "list number", "add attr colour blue", "list number")
    first, second = ended.out.split()
    assert (ended.status, ended.err, first) == (0, "", second)
    assert "blue" in site.done("list attr")


def test_a_line_that_fails_changes_nothing_and_holds_no_lock(
    site: Site, monkeypatch: pytest.MonkeyPatch, write_command: WriteCommand
) -> None:
    write_command(
        "list/half",
        "self.db.lock('shell test', 0)\nself.db.execute(\"UPDATE subnets SET mtu = 9000\")\nself.abort('no')",
    )
    write_command("list/locked", "from rocks.database.locks import NamedLocks\nself.db.lock('shell test', 0)")
    before = site.contents()
    ended = shell(site, monkeypatch, "list half", "list locked", "list locked", "list number")
    assert "Error: no" in ended.err and "another command" not in ended.err
    assert ended.out.strip().isdigit()
    assert site.contents() == before


def test_a_connection_that_the_server_ended_is_made_again(
    site: Site, monkeypatch: pytest.MonkeyPatch, write_command: WriteCommand
) -> None:
    """As after a night, or a restart of the server."""
    killed = """
number = self.db.rows('SELECT CONNECTION_ID()')[0][0]
def kill():
    from rocks.core.clock import Deadline, wait_seconds
    from rocks.database.connection import Database
    with Database(self.db.settings) as other:
        other.execute(f'KILL {number}')
        deadline = Deadline(60)
        while other.rows('SELECT 1 FROM information_schema.PROCESSLIST WHERE ID = %s', (number,)):
            assert not deadline.passed()
            other.rollback()
            wait_seconds(0.05)
self.db.after_commit(kill)
"""
    write_command("list/killed", killed)
    ended = shell(site, monkeypatch, "list number", "list killed", "list number", "list network")
    assert ended.err == "" and "private" in ended.out
