"""What holds for every test."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests import generated

if TYPE_CHECKING:
    from tests.work_units import UnitScheduling

generated.load_profile()


def pytest_configure() -> None:
    """Have an interrupt raise KeyboardInterrupt also in a run that a shell started in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order the tests when several workers run them."""
    if hasattr(config, "workerinput"):
        from tests.work_units import arrange

        arrange(items)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> UnitScheduling:
    """Distribute the tests by units."""
    from tests.work_units import UnitScheduling

    return UnitScheduling(config, log)
