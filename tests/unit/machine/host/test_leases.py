"""The numbers that a host never goes below, and the lock beside each."""

import threading
from pathlib import Path

import pytest

from rocks.core.errors import BusyError, IncoherentError, StateError, UserError
from rocks.leases.host.leases import Leases, check_name


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
