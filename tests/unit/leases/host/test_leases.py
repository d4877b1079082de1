"""The numbers that a host never goes below, and the lock beside each."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from rocks.core.errors import BusyError, IncoherentError, StateError, UserError
from rocks.fleet.wire.facts import EPOCH_TOKENS
from rocks.leases.host import leases as lease_epoch
from rocks.leases.host.leases import HostEpoch, Leases, check_name


def test_a_token_is_remembered_and_never_gone_below(tmp_path: Path) -> None:
    """Lower ones are refused with both numbers, the same one and higher ones are let in."""
    leases = Leases(tmp_path)
    assert leases.remembered("vm-a-0") is None
    leases.admit("vm-a-0", 7)
    leases.admit("vm-a-0", 7)
    leases.admit("vm-a-0", 9)
    assert Leases(tmp_path).remembered("vm-a-0") == 9
    with pytest.raises(StateError, match="under lease 8, but this host has seen lease 9"):
        leases.admit("vm-a-0", 8)
    leases.end("vm-a-0", 8)
    assert leases.remembered("vm-a-0") == 9, "the end of an older lease changes nothing"
    leases.end("vm-a-0", 9)
    leases.end("vm-a-0", 9)
    leases.check_end("vm-a-0", 9)
    assert leases.remembered("vm-a-0") == 10
    with pytest.raises(StateError, match="to end under lease 8, but this host has seen lease 10"):
        leases.check_end("vm-a-0", 8)
    leases.admit("vm-a-1", 1)
    assert leases.remembered("vm-a-0") == 10


def test_the_folder_is_closed_to_others(tmp_path: Path) -> None:
    """A user with write access could start an old copy of a virtual machine."""
    Leases(tmp_path / "state").admit("vm-a-0", 1)
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "state" / "leases").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("text", ["", "x\n", "7", "-7\n", "7\n8\n", "9" * 30 + "\n"])
def test_a_corrupt_number_raises(tmp_path: Path, text: str) -> None:
    """Taking it for none would let an old lease in."""
    leases = Leases(tmp_path)
    leases.admit("vm-a-0", 7)
    (tmp_path / "leases" / "vm-a-0").write_text(text)
    with pytest.raises(IncoherentError, match="lease of vm-a-0 in"):
        leases.admit("vm-a-0", 8)


def test_one_at_a_time(tmp_path: Path) -> None:
    """A second request for the same machine waits, and fails when the first one takes too long."""
    leases, entered, go_on = Leases(tmp_path), threading.Event(), threading.Event()

    def hold() -> None:
        with leases.held("vm-a-0", 1):
            entered.set()
            go_on.wait(120)

    holder = threading.Thread(target=hold)
    holder.start()
    entered.wait(120)
    try:
        with (
            pytest.raises(BusyError, match="another command is working on vm-a-0"),
            leases.held("vm-a-0", 0.1),
        ):
            pass
        with leases.held("vm-a-1", 0.1):
            pass
    finally:
        go_on.set()
        holder.join()
    with leases.held("vm-a-0", 1):
        pass


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\n", "-a", "a\0", "vm.lock", "x" * 129, "ä", " a"])
def test_names_that_are_no_file_of_ours(name: str) -> None:
    """A name becomes a path here."""
    with pytest.raises(UserError, match="not a valid name of a virtual machine"):
        check_name(name)


@pytest.mark.parametrize("name", ["vm-vc1-0", "vc1.example.org", "a", "lock", "0x_1"])
def test_names_that_are(name: str) -> None:
    """All that the cluster database allows."""
    assert check_name(name) == name


# The lease epoch of a host: it only grows, and starts of earlier ones are refused.


def test_starts_under_leases_of_an_earlier_epoch_are_refused(tmp_path: Path) -> None:
    epoch = HostEpoch(tmp_path)
    with epoch.admitted("a", 5):
        pass
    epoch.raise_to(2)
    epoch.raise_to(1)
    assert epoch.current() == 2
    refused = pytest.raises(StateError, match="of lease epoch 1, but this host has seen epoch 2")
    with refused, epoch.admitted("a", 2 * EPOCH_TOKENS - 1):
        pass
    with epoch.admitted("a", 2 * EPOCH_TOKENS), epoch.admitted("b", 3 * EPOCH_TOKENS):
        pass


def test_the_epoch_does_not_change_while_a_start_is_in_progress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_epoch, "_RAISE_SECONDS", 0.0)
    epoch = HostEpoch(tmp_path)
    with epoch.admitted("a", 5):
        with pytest.raises(BusyError, match="are being started on this host"):
            epoch.raise_to(1)
        epoch.raise_to(0)
    epoch.raise_to(1)
    assert epoch.current() == 1


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: path.write_text("x"), "'x' is not a number"),
        (lambda path: (path.unlink(), os.mkfifo(path)), "it is not a file"),
        (lambda path: (path.unlink(), path.mkdir()), "it is not a file"),
    ],
    ids=["text", "FIFO", "folder"],
)
def test_a_corrupt_file_is_named_and_starts_nothing(
    tmp_path: Path, damage: Callable[[Path], object], reason: str
) -> None:
    epoch = HostEpoch(tmp_path)
    epoch.raise_to(1)
    damage(tmp_path / "leases" / ".epoch")
    refused = pytest.raises(IncoherentError, match=rf"/\.epoch, .* \({reason}\); .*rocks sync vm lease")
    with refused, epoch.admitted("a", 5 * EPOCH_TOKENS):
        pass


def test_an_epoch_that_was_raised_meanwhile_is_not_lowered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two requests that wait for a start, the one of the older copy may get the lock last."""
    epoch, later, asks_for_lock = HostEpoch(tmp_path), HostEpoch(tmp_path), threading.Event()
    monkeypatch.setattr(lease_epoch, "_RAISE_SECONDS", 600.0)
    take = lease_epoch.locked
    with epoch.admitted("a", 5):
        monkeypatch.setattr(lease_epoch, "locked", lambda *a, **b: (asks_for_lock.set(), take(*a, **b))[1])
        waiting = threading.Thread(target=lambda: later.raise_to(3))
        waiting.start()
        assert asks_for_lock.wait(120)  # it has looked at the epoch
        assert waiting.is_alive()
        (tmp_path / "leases" / ".epoch").write_text("9\n")
    waiting.join(120)
    assert epoch.current() == 9
