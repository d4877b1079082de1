"""Which tests run a line: every test once under coverage, kept until the sources or the tests change."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import NamedTuple

import coverage

from bench.mutants.trial import CHECKOUT, STATE, Copy, files
from rocks.errors import ToolError

_DEADLINE_SECONDS = 6 * 3600
_MAIN = 'if __name__ == "__main__":\n'
# `bin/rocks` starts without `site`, which starts the coverage of other programs (coverage's own .pth file).
_START = "    sys.path.append({packages!r}); import coverage; coverage.process_startup()\n"
_SETTINGS = """\
[run]
parallel = true
source = {folder}/copy/src
data_file = {folder}/lines
context = ${{PYTEST_CURRENT_TEST-}}
"""


class Covered(NamedTuple):
    """The lines of the tests in `folder`, and the seconds of each test that passed on the unchanged sources."""

    lines: coverage.CoverageData
    folder: Path
    seconds: dict[str, float]

    def tests_of(self, path: str, lines: range) -> dict[str, float]:
        """The tests that run one of the lines, themselves or in a `rocks` that they start, with their seconds.

        A line that is run by an import only, before any test, has those that run another line of the file.
        """
        by_line = self.lines.contexts_by_lineno(str(self.folder / "copy" / path))
        for those in (lines, by_line):
            names = {_test_of(context) for line in those for context in by_line.get(line, ())}
            if found := {name: self.seconds[name] for name in sorted(names) if name in self.seconds}:
                return found
        return {}


def _test_of(context: str) -> str:
    """The recorder's context is the test's name; that of a program has the phase behind it, as pytest writes it."""
    name, _, phase = context.rpartition(" (")
    return name if phase in ("setup)", "call)", "teardown)") else context


def cover(selection: str) -> Covered:
    """Run the tests that a marker expression selects, unless they were run before. ToolError when they do not end."""
    digest = hashlib.sha256(selection.encode())
    for path in files():
        if path.startswith(("src/", "tests/", "lab/")):
            digest.update(path.encode() + (CHECKOUT / path).read_bytes())
    folder = STATE / digest.hexdigest()[:16]
    ends = folder / "ends.json"
    if not (folder / "lines").exists():
        shutil.rmtree(folder, ignore_errors=True)
        copy = Copy(folder / "copy")
        launcher = copy.folder / "src/rocks/cli/launch.py"
        start = _START.format(packages=str(Path(coverage.__file__).parent.parent))
        launcher.write_text(
            launcher.read_text(encoding="utf-8").replace(_MAIN, _MAIN + start), encoding="utf-8"
        )
        settings = folder / "settings"
        settings.write_text(_SETTINGS.format(folder=folder), encoding="utf-8")
        variables = {"COVERAGE_PROCESS_START": str(settings), "MUTANTS_ENDS": str(ends)}
        copy.pytest(["-n", "4", "-m", selection], _DEADLINE_SECONDS, **variables)
        if not ends.exists():
            raise ToolError(f"the tests did not end under coverage; the copy is {copy.folder}")
        coverage.Coverage(data_file=str(folder / "lines")).combine([str(folder)])
    lines = coverage.CoverageData(str(folder / "lines"))
    lines.read()
    ended = json.loads(ends.read_text(encoding="utf-8")).items()
    return Covered(
        lines, folder, {name: seconds for name, (outcome, seconds) in ended if outcome == "passed"}
    )
