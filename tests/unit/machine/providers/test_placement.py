"""Leases of cores and devices of an attempt that fails."""

from types import SimpleNamespace
from typing import Any

import pytest

from rocks.core.errors import HostError
from rocks.machine import placement_records as table
from rocks.machine import providers as shapes
from rocks.machine.placement import ShapeLeases, ShapeRequest
from rocks.machine.start import Attempt


def test_an_attempt_that_fails_keeps_what_its_interrupted_start_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent of that start may still be working, and another machine must not get its cores."""
    vm: Any = SimpleNamespace(name="web")
    attempt = Attempt(vm, token=7)
    request = ShapeRequest("web", "vmc-0-0", 7, 2, 1024, pinning="pin_all")
    replaced: list[Any] = []
    monkeypatch.setattr(shapes, "_requests", lambda _: {"web": request})
    monkeypatch.setattr(table, "lock_hosts", lambda *_: None)
    monkeypatch.setattr(table, "leases_on", lambda *_: ShapeLeases())
    monkeypatch.setattr(table, "replace_leases", lambda _, *given: replaced.append(given))
    database: Any = None
    shapes.Placements(database, lambda _: None).claim([attempt], {"vmc-0-0": HostError("silent")})
    assert "web is not started: silent" in str(attempt.error)
    assert replaced == [([], ShapeLeases())]
