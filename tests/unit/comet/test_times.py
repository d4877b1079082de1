"""No output has a time without its zone: an owner, the site and the service may be in three of them."""

import json
import re

import pytest

from tests.nucleus_server import answer
from tests.unit.comet.conftest import Comet

_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(.{0,4})")
_ZONE = re.compile(r"Z| ?[+-]\d\d")
_TIMES = {"begin": "2026-12-01T10:00:00.000Z", "end": "2026-12-01T12:00:00.000Z"}


@pytest.mark.parametrize(
    ("line", "count"),
    [
        ("computeset 1", 2),
        ("computeset --state=all --format=csv", 2),
        ("node info vc2 vm-vc2-0", 1),
        ("operation list", 1),
        ("operation show {operation}", 1),
        ("token create --days=1", 1),
        ("token list", 1),
        ("reservation list", 2),
    ],
)
def test_a_time_has_its_zone(comet: Comet, line: str, count: int) -> None:
    comet("start", "vc2", "vm-vc2-0")
    comet("power", "on", "vc2")
    comet("token", "create", "--days=1")
    comet.server.sets[1]["start_time"] = 1_800_000_000
    interval = {**_TIMES, "state": "waiting", "reason": None, "cluster": None, "address": None}
    made = {"id": 7, "site": "UCSD", "owner": "ann", "vc": "dock6", "intervals": [interval]}
    comet.server.answers["reservation"] = answer(200, json.dumps([made]).encode())
    printed = comet(*line.format(operation=next(iter(comet.server.operations), "")).split())
    found = _TIME.findall(printed.out + printed.err)
    assert len(found) >= count and all(_ZONE.match(it) for it in found), printed
