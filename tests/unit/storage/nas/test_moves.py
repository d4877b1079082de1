"""A move between NASes that is to end: its connection ends, whichever came first."""

from types import SimpleNamespace

import pytest

from rocks.core.errors import HostError
from rocks.storage.nas.moves import _Running


@pytest.fixture
def ended() -> list[str]:
    return []


@pytest.fixture
def connection(ended: list[str]) -> SimpleNamespace:
    return SimpleNamespace(peer="nas-0-1", end=lambda: ended.append("nas-0-1"))


def test_the_connection_of_a_move_that_ends_is_ended(connection: SimpleNamespace, ended: list[str]) -> None:
    running = _Running()
    running.connected(connection)
    assert ended == []
    running.end()
    assert ended == ["nas-0-1"]


def test_a_move_that_has_ended_gets_no_connection(connection: SimpleNamespace) -> None:
    running = _Running()
    running.end()
    with pytest.raises(HostError, match="^the transfer with nas-0-1 was ended$"):
        running.connected(connection)
