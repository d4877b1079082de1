"""What holds for every test."""

from __future__ import annotations

import signal
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from tests import generated
from tests.durations import seconds_by_part
from tests.patience import patience
from tests.smoke_tests import is_slow

if TYPE_CHECKING:
    from tests.work_units import UnitScheduling

SECONDS_OF_A_TEST = 300
"""Of one that needs no daemon, on a quiet machine: a multiple of what the longest needs."""

_MARKING_FOLDERS = ("system", "packages", "lab")
"""Their tests get a marker of this name."""

generated.load_profile()


def pytest_configure() -> None:
    """Have an interrupt raise KeyboardInterrupt also in a run that a shell started in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by their markers
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark tests by their folder, and those that only `make test-all` runs; order them for several workers."""
    for item in items:
        for folder in _MARKING_FOLDERS:
            if item.nodeid.startswith(f"tests/{folder}/"):
                item.add_marker(folder)
        if is_slow(item.nodeid):
            item.add_marker(pytest.mark.slow)
    if hasattr(config, "workerinput"):
        from tests.work_units import arrange

        arrange(items)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a test of a rule, a model or a contract that waits without an end, at the place where it waits."""
    if not item.nodeid.startswith(("tests/unit/", "tests/contract/", "tests/golden/")):
        return (yield)
    seconds = patience(SECONDS_OF_A_TEST)

    def stop(*_: object) -> NoReturn:
        pytest.fail(f"it has not ended after {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> UnitScheduling:
    """Distribute the tests by units."""
    from tests.work_units import UnitScheduling

    return UnitScheduling(config, log)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the time of each part, of a run of several."""
    reports = [
        each for every in terminalreporter.stats.values() for each in every if hasattr(each, "duration")
    ]
    parts = seconds_by_part((each.nodeid, each.duration) for each in reports)
    if len(parts) > 1:
        terminalreporter.section("seconds of each part, added up over the workers")
        for part, seconds in parts:
            terminalreporter.write_line(f"{seconds:8.1f}  {part}")
