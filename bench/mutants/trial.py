"""A scratch copy of the checkout, and runs of pytest in it, each isolated as in `make test`."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from rocks.errors import ToolError
from rocks.process import Finished, run, run_checked

CHECKOUT = Path(__file__).resolve().parents[2]
STATE = CHECKOUT / ".state" / "mutants"
_START_SECONDS = 120
NO_TEST = "pytest itself"
_ISOLATED = ["-m", "lab.isolation", "env", "-u", "PYTHONPATH", ".state/venv/bin/python"]
_PYTEST = ["-m", "pytest", "-q", "-p", "bench.mutants.recorder"]


def files() -> list[str]:
    """The paths of all files of the checkout, relative to it, without those that Git ignores."""
    options = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = run_checked(["git", "-C", str(CHECKOUT), *options], deadline_seconds=60)
    return sorted(path for path in listed.text.split("\0") if (CHECKOUT / path).is_file())


class Copy:
    """A copy of the checkout that shares its Python environment and its kernel for guests."""

    def __init__(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        for path in files():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(CHECKOUT / path, folder / path)
        (folder / ".state").mkdir()
        for name in ("venv", "guest"):
            (folder / ".state" / name).symlink_to(CHECKOUT / ".state" / name)
        self.folder = folder

    def pytest(self, options: list[str], deadline_seconds: float, **variables: str) -> Finished | None:
        """Run pytest with the recorder; None when it has not ended in time."""
        python = str(self.folder / ".state" / "venv" / "bin" / "python")
        environment = {**os.environ, "PYTHONPATH": "src", "LAB_PARENT": str(os.getpid()), **variables}
        command = ["env", "-C", str(self.folder), python, *_ISOLATED, *_PYTEST, *options]
        try:
            return run(command, deadline_seconds=deadline_seconds, environment=environment)
        except ToolError:
            return None

    def failing(self, tests: Mapping[str, float]) -> str:
        """The first test that does not pass, '' if all do; `tests` has the seconds of each on the unchanged copy.

        The quickest is run first. A run that takes five times as long as it should counts as failed.
        """
        chosen = self.folder / "chosen.json"  # not in .state, of which an isolated run has one of its own
        chosen.write_text(json.dumps(sorted(tests, key=lambda test: tests[test])), encoding="utf-8")
        modules = sorted({test.partition("::")[0] for test in tests})
        deadline = _START_SECONDS + 5 * sum(tests.values())
        finished = self.pytest(["-x", *modules], deadline, MUTANTS_CHOSEN=str(chosen))
        if finished is None:
            return f"a run of {deadline:.0f} s"
        failed = [line for line in finished.text.splitlines() if line.startswith(("FAILED ", "ERROR "))]
        return "" if finished.exit_status == 0 else (failed or [NO_TEST])[0].partition(" - ")[0]
