"""A pytest plugin for the lab's modules: it records passes, and prints the processor utilization."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lab.build.mirrors import names_of_releases
from lab.machines.checkout import is_of_isos, releases_there
from rocks.core.errors import RocksError
from rocks.core.process import run, run_checked
from tests.lab.passes import page
from tests.lab.passes.keys import CHECKOUT, FOLDER, content_key, files_of
from tests.lab.passes.processors import Ticks, line, read_ticks, share

_GIT = ("git", "-C", str(CHECKOUT), "-c", f"safe.directory={CHECKOUT}")
"""The tests of the lab run as root; the checkout may belong to another user."""

_GIT_DEADLINE_SECONDS = 60.0
_PARTS = ("lf", "setuponly", "setupplan")
"""Options with which pytest runs a part of the tests, or of each, and reports none as left out."""


class _ModuleRun:
    """The run of a module, with the outcomes so far."""

    def __init__(self, key: str) -> None:
        self.key, self.began, self.ticks = key, time.monotonic(), read_ticks()
        self.outcomes: dict[str, str] = {}
        self.where = _where()

    def add(self, report: pytest.TestReport) -> None:
        """`failed` when any phase failed, else `skipped` when any was."""
        ranks = ("passed", "skipped", "failed")
        self.outcomes[report.nodeid] = max(
            self.outcomes.get(report.nodeid, "passed"), report.outcome, key=ranks.index
        )


class Recorder:
    """Pytest hooks: write a row of docs/evidence/lab-passes.md for each module that ran completely and did not fail."""

    def __init__(self, config: pytest.Config, passes: Path = page.PAGE, folder: Path = FOLDER) -> None:
        self._passes, self._folder = passes, folder
        # by their file names, for pytest may be started in any folder
        self._chosen = {Path(name.partition("::")[0]).name for name in map(str, config.args) if "::" in name}
        self._partial: set[str] = set()
        self._is_partial = any(config.getoption(option, False) for option in _PARTS)
        self._cases: Counter[str] = Counter()
        self._runs: dict[str, _ModuleRun] = {}
        self._lines: list[str] = []
        self._first: tuple[float, Ticks] | None = None

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        """A module with deselected tests does not run completely."""
        self._partial |= {_module(item.nodeid, self._folder) for item in items}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Count each module's tests."""
        self._cases.update(_module(item.nodeid, self._folder) for item in session.items)
        del self._cases[""]

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """At the first test of a module, compute its key from the current files."""
        module = _module(nodeid, self._folder)
        if module and module not in self._runs:
            self._runs[module] = _ModuleRun(content_key(module))
            self._first = self._first or (self._runs[module].began, self._runs[module].ticks)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect the outcome of each phase of a test; a failure removes the recorded pass."""
        module = _module(report.nodeid, self._folder)
        if run := self._runs.get(module):
            run.add(report)
            if report.outcome == "failed":
                self._write(module, lambda: page.remove(f"{module}{run.where}", run.key, self._passes))

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """After the last test of a module, record the result and print the processor utilization."""
        module = _module(nodeid, self._folder)
        run = self._runs.get(module)
        if run and len(run.outcomes) == self._cases[module]:
            self._lines.append(line(module, time.monotonic() - run.began, share(run.ticks, read_ticks())))
            print(f"\n{self._lines[-1]}", flush=True)
            self._write(module, lambda: self._record_result(module, run))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the table of processor utilization."""
        if self._first:
            began, ticks = self._first
            terminalreporter.section("seconds and processor utilization of each lab module")
            whole = line("total", time.monotonic() - began, share(ticks, read_ticks()))
            for row in (*self._lines, whole):
                terminalreporter.write_line(row)

    def _write(self, module: str, change: Callable[[], None]) -> None:
        """Change the page; a page that cannot be changed does not end the run."""
        try:
            change()
        except RocksError as error:
            self._lines.append(f"not recorded: {module}: {error}")

    def _record_result(self, module: str, run: _ModuleRun) -> None:
        outcomes = Counter(run.outcomes.values())
        is_pass = outcomes["passed"] and not outcomes["failed"] and not self._is_part(module)
        if is_pass and run.key == content_key(module):
            total = outcomes.total()
            passed = outcomes["passed"]
            cases = str(total) if passed == total else f"{passed} of {total}"
            seconds = round(time.monotonic() - run.began)
            row = page.Pass(run.key, _commit(module), datetime.now(UTC).date().isoformat(), cases, seconds)
            page.record(f"{module}{run.where}", row, self._passes)

    def _is_part(self, module: str) -> bool:
        return self._is_partial or module in self._partial or Path(module).name in self._chosen


def _where() -> str:
    """What follows the module in its row, when the machines are not of the oldest release."""
    if is_of_isos():
        return " (machines of ISOs)"
    hosts, nas = releases_there()
    return "" if hosts == nas == names_of_releases()[0] else f" (hosts {hosts}, NAS {nas})"


def _module(node_id: str, folder: Path) -> str:
    """The module of a test, relative to the lab's folder; '' for a test outside it."""
    path = CHECKOUT / node_id.partition("::")[0]
    return str(path.relative_to(folder)) if folder in path.parents else ""


def _commit(module: str) -> str:
    """The current commit, followed by `+` if files of the module's key have uncommitted changes; `none` without Git."""
    found = run([*_GIT, "rev-parse", "--short=8", "HEAD"], deadline_seconds=_GIT_DEADLINE_SECONDS)
    if found.exit_status != 0:
        return "none"
    changed = [*_GIT, "status", "--porcelain", "--", *map(str, files_of(module))]
    return found.text.strip() + (
        "+" if run_checked(changed, deadline_seconds=_GIT_DEADLINE_SECONDS).output else ""
    )
