"""Leases of cores and devices of an attempt that fails."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from rocks.core.errors import HostError
from rocks.fleet.wire.facts import ShapeQuestion
from rocks.machine import placement_records as table
from rocks.machine import providers
from rocks.machine.placement import ShapeLeases, ShapeRequest
from rocks.machine.providers import PROVIDERS, Provider, Questions
from rocks.machine.start import Attempt


def test_an_attempt_that_fails_keeps_what_its_interrupted_start_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent of that start may still be working, and another machine must not get its cores."""
    vm: Any = SimpleNamespace(name="web")
    attempt = Attempt(vm, token=7)
    request = ShapeRequest("web", "vmc-0-0", 7, 2, 1024, pinning="pin_all")
    replaced: list[Any] = []
    monkeypatch.setattr(providers, "_requests", lambda _: {"web": request})
    monkeypatch.setattr(table, "lock_hosts", lambda *_: None)
    monkeypatch.setattr(table, "leases_on", lambda *_: ShapeLeases())
    monkeypatch.setattr(table, "replace_leases", lambda _, *given: replaced.append(given))
    database: Any = None
    providers.Placements(database, lambda _: None).claim([attempt], {"vmc-0-0": HostError("silent")})
    assert "web is not started: silent" in str(attempt.error)
    assert replaced == [([], ShapeLeases())]


# The table of providers.


def test_each_provider_is_a_row() -> None:
    """A provider that is forgotten in the table gives nothing to a machine."""
    defined = {one for one in vars(providers).values() if isinstance(one, type) and issubclass(one, Provider)}
    assert defined - {Provider} == set(PROVIDERS)


@pytest.mark.parametrize("provider", [Provider, *PROVIDERS])
def test_without_machines_no_host_is_asked(provider: type[Provider]) -> None:
    """And no statement is sent: there is no database here."""
    asked = Questions()
    one = provider(None, lambda _: None)  # type: ignore[arg-type]
    one.ask([], asked)
    one.claim([], {})
    assert asked == Questions({}, dict[str, ShapeQuestion]())  # type: ignore[arg-type]
