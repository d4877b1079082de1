"""The table of providers."""

from pathlib import Path

import pytest

from rocks.fleet.wire.placement import ShapeQuestion
from rocks.machine import providers
from rocks.machine.providers import PROVIDERS, Provider, Questions


def test_each_module_is_a_row() -> None:
    """A provider that is forgotten in the table gives nothing to a machine."""
    modules = {path.stem for path in Path(str(providers.__file__)).parent.glob("*.py")}
    rows = {provider.__module__.rpartition(".")[2] for provider in PROVIDERS}
    assert modules - rows == {"__init__", "provider", "table"} and rows <= modules


@pytest.mark.parametrize("provider", [Provider, *PROVIDERS])
def test_without_machines_no_host_is_asked(provider: type[Provider]) -> None:
    """And no statement is sent: there is no database here."""
    asked = Questions()
    one = provider(None, lambda _: None)  # type: ignore[arg-type]
    one.ask([], asked)
    one.claim([], {})
    assert asked == Questions({}, dict[str, ShapeQuestion]())  # type: ignore[arg-type]
