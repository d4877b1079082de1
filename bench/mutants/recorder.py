"""A plugin of pytest: which test runs which lines, how each ended, and which tests are run, the quickest first.

COVERAGE_PROCESS_START starts the coverage of this process, before any of our modules is imported.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from pathlib import Path

import pytest
from coverage import Coverage

_ends: dict[str, tuple[str, float]] = {}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run only the tests that the file MUTANTS_CHOSEN names, in its order."""
    if "MUTANTS_CHOSEN" in os.environ:
        by_name = {item.nodeid: item for item in items}
        chosen = json.loads(Path(os.environ["MUTANTS_CHOSEN"]).read_text(encoding="utf-8"))
        items[:] = [by_name[name] for name in chosen if name in by_name]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Record the lines of a test, with those of its fixtures, under its node id."""
    coverage = Coverage.current()
    if coverage:
        coverage.switch_context(item.nodeid)
    try:
        return (yield)
    finally:
        if coverage:
            coverage.switch_context("")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Add up the seconds of a test's parts, and keep the outcome of that which did not pass."""
    outcome, seconds = _ends.get(report.nodeid, ("passed", 0.0))
    _ends[report.nodeid] = (outcome if report.passed else report.outcome, seconds + report.duration)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write how the tests ended, once for all workers; save the lines, for xdist ends a worker without `atexit`."""
    coverage = Coverage.current()
    if coverage:
        coverage.save()
    if "MUTANTS_ENDS" in os.environ and not hasattr(session.config, "workerinput"):
        Path(os.environ["MUTANTS_ENDS"]).write_text(json.dumps(_ends), encoding="utf-8")
