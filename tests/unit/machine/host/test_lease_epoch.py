"""The lease epoch of a host: it only grows, and starts of earlier ones are refused."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from rocks.core.errors import BusyError, IncoherentError, StateError
from rocks.fleet.wire.leases import EPOCH_TOKENS
from rocks.leases.host import epoch as lease_epoch
from rocks.leases.host.epoch import LeaseEpoch


def test_starts_under_leases_of_an_earlier_epoch_are_refused(tmp_path: Path) -> None:
    epoch = LeaseEpoch(tmp_path)
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
    epoch = LeaseEpoch(tmp_path)
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
    epoch = LeaseEpoch(tmp_path)
    epoch.raise_to(1)
    damage(tmp_path / "leases" / ".epoch")
    refused = pytest.raises(IncoherentError, match=rf"/\.epoch, .* \({reason}\); .*rocks sync vm lease")
    with refused, epoch.admitted("a", 5 * EPOCH_TOKENS):
        pass


def test_an_epoch_that_was_raised_meanwhile_is_not_lowered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two requests that wait for a start, the one of the older copy may get the lock last."""
    epoch, later, asks_for_lock = LeaseEpoch(tmp_path), LeaseEpoch(tmp_path), threading.Event()
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
