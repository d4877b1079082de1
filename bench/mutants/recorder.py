"""A pytest plugin: records which test executes which lines and each outcome; selects and orders the tests.

COVERAGE_PROCESS_START starts coverage in this process before any of our modules is imported.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from pathlib import Path

import pytest
from coverage import Coverage

_outcomes: dict[str, tuple[str, float]] = {}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run only the tests listed in the file MUTANTS_CHOSEN, in its order."""
    if "MUTANTS_CHOSEN" in os.environ:
        by_name = {item.nodeid: item for item in items}
        chosen = json.loads(Path(os.environ["MUTANTS_CHOSEN"]).read_text(encoding="utf-8"))
        items[:] = [by_name[name] for name in chosen if name in by_name]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Record the lines that a test and its fixtures execute under the test's node id."""
    coverage = Coverage.current()
    if coverage:
        coverage.switch_context(item.nodeid)
    try:
        return (yield)
    finally:
        if coverage:
            coverage.switch_context("")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Add up the seconds of a test's phases; the outcome is that of a phase that did not pass, if any."""
    outcome, seconds = _outcomes.get(report.nodeid, ("passed", 0.0))
    _outcomes[report.nodeid] = (outcome if report.passed else report.outcome, seconds + report.duration)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the outcomes once for all workers. Save the coverage here: xdist ends a worker without `atexit`."""
    coverage = Coverage.current()
    if coverage:
        coverage.save()
    if "MUTANTS_OUTCOMES" in os.environ and not hasattr(session.config, "workerinput"):
        Path(os.environ["MUTANTS_OUTCOMES"]).write_text(json.dumps(_outcomes), encoding="utf-8")
