"""A machine that is no site yet."""

import pytest

from rocks.database.settings import Settings
from tests.system.commands.conftest import CommandLine


@pytest.fixture
def rocks_without_database(
    absent_database: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> CommandLine:
    """Command lines on a server on which the cluster database does not exist yet."""
    assert absent_database.socket is not None
    monkeypatch.setenv("ROCKS_DATABASE_SOCKET", absent_database.socket)
    monkeypatch.setenv("ROCKS_DATABASE_NAME", absent_database.database)
    return CommandLine(capsys)
