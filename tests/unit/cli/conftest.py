"""`rocks`, which runs a command line without any database, and command trees."""

from collections.abc import Callable
from typing import NamedTuple

import pytest

from rocks.cli.main import main
from tests.command_trees import tree, write_command

__all__ = ["Outcome", "Rocks", "rocks", "tree", "write_command"]


class Outcome(NamedTuple):
    """What a command line did: its exit status and what it printed."""

    status: int
    output: str
    error: str


Rocks = Callable[..., Outcome]


@pytest.fixture
def rocks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Rocks:
    """`rocks("list", "help")` runs that command line in this process; no database is there."""
    monkeypatch.setenv("ROCKS_DATABASE_SOCKET", "/nowhere/mysql.sock")
    for name in ("ROCKS_DATABASE_FILE", "ROCKS_DATABASE_HOST", "COLUMNS", "ROCKSDEBUG"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str) -> Outcome:
        capsys.readouterr()
        status = main(arguments)
        printed = capsys.readouterr()
        return Outcome(status, printed.out, printed.err)

    return run
