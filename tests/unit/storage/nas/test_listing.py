"""What the listing of a NAS says of an image in each state."""

from unittest.mock import MagicMock

import pytest

from rocks.storage.image.image import Image
from rocks.storage.image.states import (
    MAPPED,
    MAPPING,
    PULLING,
    RETURNING,
    SEEDING,
    UNMAPPED,
    State,
)
from rocks.storage.nas.command_requests import Commands
from rocks.storage.nas.listing import image_row
from rocks.storage.wire.requests import ACTIONS


@pytest.mark.parametrize(
    ("state", "sync", "is_sending", "is_delete_remote", "is_locked"),
    [
        (UNMAPPED, True, None, None, False),
        (MAPPING, True, None, None, True),
        (SEEDING, True, 1, 0, True),
        (MAPPED, True, 1, 0, True),
        (MAPPED, False, None, None, True),
        (PULLING, True, 0, 0, False),
        (RETURNING, True, 0, 1, True),
    ],
)
def test_the_direction_in_which_an_image_is_sent(
    state: State, sync: bool, is_sending: int | None, is_delete_remote: int | None, is_locked: bool
) -> None:
    """An image that its host uses over the network alone (`sync` is False) is not sent."""
    row = image_row(Image("i", "nas-0", "tank", "vol", state=state, sync=sync), {}, 900)
    assert (row.is_sending, row.is_delete_remote) == (is_sending, is_delete_remote)
    assert row.time == (None if is_sending is None else 900)
    assert row.locked == ("vol" if is_locked else None)


def test_a_nas_answers_what_the_table_of_actions_declares() -> None:
    """At once all but operations, which are begun and recorded."""
    now, begun = Commands._answers_by_request(MagicMock()), Commands._begins_by_request(MagicMock())
    mine = [action for action in ACTIONS.values() if action.role == "nas"]
    assert now.keys() == {action.shape for action in mine if action.repetition != "once"}
    assert begun.keys() == {action.shape for action in mine if action.repetition == "once"}
