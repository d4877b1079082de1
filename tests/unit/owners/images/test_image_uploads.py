"""The places of uploads on their way."""

import time
from typing import Any

from owners.images.image_uploads import Arrival

SOMEBODY: Any = object()


def test_an_upload_that_never_ends_keeps_no_place() -> None:
    """A large one that comes at a usual rate does; one that was refused never had one."""
    now = time.monotonic()
    assert Arrival(20 * 10**9, SOMEBODY, begun=now - 18_000).counts
    assert not Arrival(1, SOMEBODY, begun=now - 601).counts
    assert Arrival(1, SOMEBODY, begun=now - 599).counts
    assert not Arrival(1, None).counts and not Arrival(1, SOMEBODY, answer=SOMEBODY).counts
