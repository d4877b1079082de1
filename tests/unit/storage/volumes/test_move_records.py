"""What is left of a move between NASes, by what both have."""

from dataclasses import replace

import pytest

from rocks.core.errors import StateError, UserError
from rocks.storage.volumes.move_records import (
    ImageMove,
    check_not_moving,
    choose_pool,
    disks_of_image,
    remaining_part,
)
from rocks.storage.volumes.places import DiskLocation
from rocks.storage.wire.replies import ImageRow

MOVE = ImageMove("nas-a", "vm-x-vol", "nas-b", "tank")
IDLE = ImageRow("vm-x-vol", "tank", "unmapped", "unmapped", image_id="1")
ARRIVING = replace(IDLE, state="arriving", peer="nas-a")


@pytest.mark.parametrize(
    ("here", "there", "is_recorded", "part"),
    [
        (IDLE, None, False, "send"),
        (IDLE, ARRIVING, True, "send"),
        (replace(IDLE, state="moving", peer="nas-b"), ARRIVING, True, "send"),
        (replace(IDLE, state="moving", peer="nas-b"), IDLE, True, "send"),
        (replace(IDLE, state="deleting", peer="nas-b"), IDLE, True, "record"),
        (replace(IDLE, state="deleting", peer="nas-b"), IDLE, False, "record"),
        (None, IDLE, True, "record"),
        (None, replace(IDLE, state="local", remotehost="vmh1"), True, "record"),
        (None, IDLE, False, "nothing"),
    ],
)
def test_what_is_left(here: ImageRow | None, there: ImageRow | None, is_recorded: bool, part: str) -> None:
    """After a command, a daemon or both were killed."""
    assert remaining_part(MOVE, here, there, is_recorded) == part


@pytest.mark.parametrize(
    ("here", "there", "text"),
    [
        (None, None, "is neither on nas-a nor on nas-b"),
        (None, ARRIVING, "is neither on nas-a nor on nas-b"),
        (IDLE, IDLE, "exists already on nas-b .unmapped."),
        (IDLE, replace(ARRIVING, peer="nas-c"), "exists already on nas-b .arriving."),
        (replace(IDLE, state="moving", peer="nas-c"), None, "is being moved to nas-c, not to nas-b"),
        (replace(IDLE, state="deleting", peer="nas-c"), None, "was moved to nas-c, not to nas-b"),
        (replace(IDLE, state="deleting"), None, "rocks restore host storageimg nas-a vm-x-vol"),
        (
            replace(IDLE, state="local", remotehost="vmh1"),
            None,
            "vmh1 has it .local.*rocks remove host storagemap",
        ),
        (
            replace(IDLE, state="blocked", remotehost="vmh1", reason="odd"),
            None,
            "blocked: odd; rocks clean host",
        ),
        (replace(IDLE, state="restoring"), None, "it is restoring; repeat the command later"),
    ],
)
def test_what_cannot_be_moved(here: ImageRow | None, there: ImageRow | None, text: str) -> None:
    """Each with the command that helps."""
    with pytest.raises(StateError, match=text):
        remaining_part(MOVE, here, there, True)


def test_pool_on_the_other_nas() -> None:
    """That of the same name; the only one."""
    assert choose_pool("tank", ["fast", "tank"], "nas-b") == "tank"
    assert choose_pool("tank", ["fast"], "nas-b") == "fast"
    with pytest.raises(UserError, match="nas-b has the pools a, b: name one of them by zpool="):
        choose_pool("tank", ["a", "b"], "nas-b")


def test_disks_that_are_being_moved() -> None:
    """The disk of that number on that NAS, and no other."""
    first, second = DiskLocation("vm-x", 0, 1, "NAS-A", "tank"), DiskLocation("vm-x", 1, 2, "nas-a", "tank")
    elsewhere = DiskLocation("vm-x", 0, 3, "nas-c", "tank")
    assert disks_of_image("nas-a", "vm-x-vol", [first, second, elsewhere]) == [first]
    check_not_moving([second, elsewhere, DiskLocation("vm-y", 0, 4)], [MOVE])
    with pytest.raises(StateError, match=r"`rocks move host storageimg nas-a vm-x-vol to=nas-b zpool=tank`"):
        check_not_moving([second, first], [MOVE])
