"""What the list of operations says of a transfer."""

from rocks.storage.image.image import Image
from rocks.storage.image.states import SEEDING
from rocks.storage.nas.engine import ProgressBoard
from rocks.storage.stream.pace import Progress


def test_a_failure_is_the_reason_until_data_flows_again() -> None:
    """Its rate and its end are not known at first, and not shown as 0."""
    board = ProgressBoard()
    image = Image("i", "nas-0", "tank", "vol", state=SEEDING, reason="vmh2 has not answered for 300 s")
    assert board.row("-", "seeding", "vol", image).reason == image.reason
    board.report("i", Progress(500, 1000, 0.0, None))
    row = board.row("-", "seeding", "vol", image)
    assert (row.percent, row.bytes, row.rate, row.eta, row.reason) == (50.0, 500, None, None, "")
    board.end("i")
    assert board.row("-", "seeding", "vol", image).reason == image.reason
