"""Which connection gives way, and when."""

from __future__ import annotations

import datetime
import threading
from pathlib import Path

import pytest
from cryptography.x509 import random_serial_number

from rocks.core.errors import IncoherentError
from rocks.storage.stream import transport
from rocks.storage.stream.transport import (
    MAX_OF_AN_ADDRESS,
    MAX_WAITING,
    OPENING_SECONDS,
    RevocationWatch,
    Turns,
    WaitingConnections,
    revoked_serials,
)
from rocks.trust import x509


class Opened:
    """Connections by address and number, and those that were ended."""

    def __init__(self) -> None:
        self.waiting = WaitingConnections()
        self.ended: list[tuple[str, int]] = []
        self._count = 0

    def open(self, address: str, now: float = 0.0) -> int:
        name = (address, self._count)
        self._count += 1
        return self.waiting.admit(address, now, lambda: self.ended.append(name))


def test_the_oldest_of_an_address_gives_way() -> None:
    """Others are not concerned."""
    opened = Opened()
    opened.open("honest")
    for _ in range(200):
        opened.open("hostile")
    assert ("honest", 0) not in opened.ended
    assert opened.ended == [("hostile", number) for number in range(1, 201 - MAX_OF_AN_ADDRESS)]


def test_many_addresses_displace_each_other_first() -> None:
    """The address with the most connections loses one."""
    opened = Opened()
    opened.open("honest")
    for number in range(200):
        opened.open(f"hostile-{number % 20}")
    assert len(opened.ended) == 201 - MAX_WAITING
    assert all(address != "honest" for address, _ in opened.ended)


def test_those_that_left_do_not_count() -> None:
    """Neither for the number nor for the time."""
    opened = Opened()
    for _ in range(200):
        opened.waiting.leave(opened.open("busy"))
    opened.waiting.leave(0)
    opened.waiting.end_overdue(1e9)
    assert opened.ended == []


def test_the_time_for_handshake_and_first_line_is_one() -> None:
    """Each from its own beginning; all of them when the daemon ends."""
    opened = Opened()
    opened.open("a", 0.0)
    opened.open("b", 5.0)
    opened.waiting.end_overdue(OPENING_SECONDS - 0.1)
    assert opened.ended == []
    opened.waiting.end_overdue(OPENING_SECONDS)
    assert opened.ended == [("a", 0)]
    opened.waiting.end_all()
    assert opened.ended == [("a", 0), ("b", 1)]


def test_turns_are_returned_also_after_an_error() -> None:
    """And nobody waits beyond the deadline."""
    turns = Turns(1)
    for _ in range(3):
        try:
            with turns.turn("vmh1", 0) as is_mine:
                assert is_mine
                with turns.turn("vmh2", 0) as is_second:
                    assert not is_second
                raise KeyError
        except KeyError:
            continue


def test_a_node_with_too_many_waiting_transfers_gets_no_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Although one is free: each that waits has a thread. What is served no longer waits."""
    monkeypatch.setattr(transport, "MAX_OF_A_PEER", 0)
    turns = Turns(1)
    with turns.turn("vmh1", 0) as is_mine:
        assert not is_mine
    monkeypatch.setattr(transport, "MAX_OF_A_PEER", 1)
    with turns.turn("vmh1", 0) as is_mine, turns.turn("vmh1", 0) as is_second:
        assert is_mine and not is_second


# Serial numbers in a revocation list, compared with those that OpenSSL reads.


NOW = datetime.datetime(2026, 5, 4, tzinfo=datetime.UTC)


@pytest.mark.parametrize("count", [0, 1, 3, 300])
def test_all_listed_serial_numbers_are_read(count: int) -> None:
    """Numbers of any length, also those whose first bit is set."""
    authority = x509.create_authority("ours", NOW, 3650)
    serials = [2**159 - 1, 1, 2**127, *(random_serial_number() for _ in range(count))][:count]
    pem = x509.create_revoked_list(authority, [(serial, NOW) for serial in serials], NOW)
    assert {serial for serial, _ in x509.read_revoked_list(pem)} == set(serials)
    assert revoked_serials(pem) == frozenset(serials)


@pytest.mark.parametrize("cut", [0, 40, 200])
def test_an_incomplete_list_is_an_error(cut: int) -> None:
    """Empty, or cut."""
    pem = x509.create_revoked_list(x509.create_authority("ours", NOW, 3650), [(7, NOW)], NOW)
    with pytest.raises(IncoherentError, match="revocation list is damaged"):
        revoked_serials(pem[:cut])


def test_a_list_with_damaged_content_is_an_error() -> None:
    """Its first and last line are correct."""
    with pytest.raises(IncoherentError, match="damaged"):
        revoked_serials(b"-----BEGIN X509 CRL-----\nMIIB\n-----END X509 CRL-----\n")


def test_a_watch_that_is_closed_has_ended(tmp_path: Path) -> None:
    """A round under way ends before the daemon closes what it uses."""
    has_begun, never = threading.Event(), threading.Event()

    class Slow(RevocationWatch):
        def check(self) -> None:
            has_begun.set()
            never.wait(0.3)

    watch = Slow(tmp_path / "ca.crt", check_seconds=0.0)
    watch.start()
    assert has_begun.wait(60)
    watch.close()
    assert not watch._thread.is_alive()
