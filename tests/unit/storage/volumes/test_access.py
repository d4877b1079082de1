"""Lists of image storage: rows of hosts that answer in the order in which hosts are named, errors of the others."""

from contextlib import nullcontext
from typing import Any, cast

import pytest

from rocks.core.errors import BusyError
from rocks.storage.client import Query
from rocks.storage.volumes import access
from rocks.storage.volumes.access import ATTRIBUTES, DEVICES, IMAGE_ATTRIBUTES, Listing
from rocks.storage.wire.replies import DeviceRow, ImageAttributes

SILENT = BusyError("it does not answer")


class Storage:
    """Answers by host, in the order in which they arrive."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers, self.asked = answers, dict[str, Query[Any]]()

    def ask_each(self, queries: dict[str, Query[Any]]) -> dict[str, Any]:
        self.asked = queries
        return self.answers


@pytest.mark.parametrize(
    ("listing", "volume", "answers", "rows"),
    [
        (ATTRIBUTES, (), {"b": {"y": "1", "x": None}, "a": {}}, {"a": [], "b": [("x", None), ("y", "1")]}),
        (DEVICES, (), {"a": {"v": DeviceRow(size=3)}}, {"a": [("v", *[None] * 4, 3, *[None] * 5)]}),
        (IMAGE_ATTRIBUTES, ("v",), {"a": ImageAttributes("v")}, {"a": [("v", *[None] * 4, "yes")]}),
    ],
)
def test_rows_stand_in_the_order_of_hosts(
    listing: Listing[Any],
    volume: tuple[str, ...],
    answers: dict[str, Any],
    rows: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    storage = Storage({"silent": SILENT, **answers})
    monkeypatch.setattr(access, "open_storage", lambda database: nullcontext(storage))
    found, failed = listing.read(cast("Any", None), [*rows, "silent"], *volume)
    assert list(found.items()) == list(rows.items())
    assert failed == {"silent": SILENT}
    assert {query.node for query in storage.asked.values()} == {*rows, "silent"}
    assert {query.zvol for query in storage.asked.values()} == {*(volume or ("",))}


def test_nobody_is_asked_for_a_list_of_no_hosts() -> None:
    assert ATTRIBUTES.read(cast("Any", None), []) == ({}, {})
