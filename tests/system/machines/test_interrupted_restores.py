"""A restore of image files that was interrupted: its machine stays where it is, and off, until it is completed."""

import contextlib
from pathlib import Path

import pytest

from rocks.core.image_blocks import copy_content
from rocks.machine.host import snapshots
from tests.system.machines.hosts import DiedError
from tests.system.machines.site import NEW, OLD, MachineSite
from tests.system.machines.test_images import contents, two_disks, write

__all__ = ["two_disks"]


@pytest.fixture
def half(two_disks: MachineSite, monkeypatch: pytest.MonkeyPatch) -> MachineSite:
    """Of `g`, one of two disks was restored when its host's agent died; then the snapshot was removed."""
    two_disks.run("add host vm snapshot g monday")
    write(two_disks, b"changed")
    copied: list[int] = []

    def dies(source: int, target: int) -> None:
        copied.append(source)
        if len(copied) > 1:
            raise DiedError
        copy_content(source, target)

    with monkeypatch.context() as patched, contextlib.suppress(DiedError):
        patched.setattr(snapshots, "copy_content", dies)
        two_disks.rocks("restore host vm snapshot g monday")
    two_disks.run("remove host vm snapshot g monday")
    assert contents(two_disks) == [b"first. ", b"changed"]
    return two_disks


def test_disks_that_are_restored_in_part_do_not_leave_their_host(half: MachineSite, tmp_path: Path) -> None:
    """There nothing would keep the machine from starting with disks of different moments."""
    assert "a restore was interrupted" in half.refused("start host vm g")
    assert "a restore was interrupted" in half.refused(f"move host vm g {NEW}")
    half.run(f"set attr image_library {tmp_path}/library")
    assert "a restore was interrupted" in half.refused("add image copied vm=g")
    assert half.place("g") == OLD
    (half.hosts[OLD].state / "restoring/g").unlink()
    half.run(f"move host vm g {NEW}")
    half.run("start host vm g")
    assert half.running("g") == [NEW]


@pytest.mark.slow
def test_a_machine_with_the_name_of_one_whose_restore_was_interrupted_starts(half: MachineSite) -> None:
    half.run("remove host vm g disks=remove")
    half.run("remove host g")
    half.started("g")
    half.run("add host vm snapshot g tuesday")
    assert half.running("g") == [OLD]
