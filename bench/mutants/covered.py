"""Which tests execute a line: every test runs once under coverage; the data is valid until sources or tests change."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import NamedTuple

import coverage

from bench.mutants.trial import CHECKOUT, STATE, Copy, files
from rocks.core.errors import ToolError

_DEADLINE_SECONDS = 6 * 3600
_MAIN = 'if __name__ == "__main__":\n'
# `bin/rocks` runs without `site`, so coverage's .pth file, which starts coverage in other programs, is not read.
_START_COVERAGE = "    sys.path.append({packages!r}); import coverage; coverage.process_startup()\n"
_SETTINGS = """\
[run]
parallel = true
source = {folder}/copy/src
data_file = {folder}/lines
context = ${{PYTEST_CURRENT_TEST-}}
"""


class Covered(NamedTuple):
    """Coverage data from `folder`, and the seconds of each test that passed on the unchanged sources."""

    lines: coverage.CoverageData
    folder: Path
    seconds: dict[str, float]

    def tests_of(self, path: str, lines: range, is_imported: bool = False) -> dict[str, float]:
        """Test → seconds, of the tests that execute one of the lines, themselves or in a `rocks` that they start.

        An import executes lines outside functions once, for the first test that needs the module: for these, the tests
        that execute any line of the file, and the unit tests of its room.
        """
        by_line = self.lines.contexts_by_lineno(str(self.folder / "copy" / path))
        chosen = by_line if is_imported else lines
        names = {_test_of(context) for line in chosen for context in by_line.get(line, ())}
        if is_imported:
            room = path.removeprefix("src/").removeprefix("rocks/").partition("/")[0]
            names |= {name for name in self.seconds if name.startswith(f"tests/unit/{room}/")}
        return {name: self.seconds[name] for name in sorted(names) if name in self.seconds}


def _test_of(context: str) -> str:
    """The recorder's context is the test's name; a program's context has pytest's phase after the name."""
    name, _, phase = context.rpartition(" (")
    return name if phase in ("setup)", "call)", "teardown)") else context


def cover(selection: str) -> Covered:
    """Run the tests that a marker expression selects, unless there is valid data. ToolError when they do not end."""
    digest = hashlib.sha256(selection.encode())
    for path in files():
        if path.startswith(("src/", "tests/", "lab/")):
            digest.update(path.encode() + (CHECKOUT / path).read_bytes())
    folder = STATE / digest.hexdigest()[:16]
    outcomes = folder / "outcomes.json"
    if not (folder / "lines").exists():
        shutil.rmtree(folder, ignore_errors=True)
        copy = Copy(folder / "copy")
        launcher = copy.folder / "src/rocks/cli/launch.py"
        start = _START_COVERAGE.format(packages=str(Path(coverage.__file__).parent.parent))
        launcher.write_text(
            launcher.read_text(encoding="utf-8").replace(_MAIN, _MAIN + start), encoding="utf-8"
        )
        settings = folder / "settings"
        settings.write_text(_SETTINGS.format(folder=folder), encoding="utf-8")
        variables = {"COVERAGE_PROCESS_START": str(settings), "MUTANTS_OUTCOMES": str(outcomes)}
        copy.pytest(["-n", "4", "-m", selection], _DEADLINE_SECONDS, **variables)
        if not outcomes.exists():
            raise ToolError(
                f"the tests did not complete under coverage; run them in the copy, {copy.folder}, to see why"
            )
        coverage.Coverage(data_file=str(folder / "lines")).combine([str(folder)])
    lines = coverage.CoverageData(str(folder / "lines"))
    lines.read()
    recorded = json.loads(outcomes.read_text(encoding="utf-8")).items()
    seconds = {name: seconds for name, (outcome, seconds) in recorded if outcome == "passed"}
    if not seconds:
        raise ToolError(f"no test passed under coverage; the copy is {folder / 'copy'}")
    return Covered(lines, folder, seconds)
