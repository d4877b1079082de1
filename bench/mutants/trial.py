"""A copy of the checkout, and isolated runs of pytest in it, as in `make test`."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from rocks.core.errors import ToolError
from rocks.core.process import Finished, run, run_checked

CHECKOUT = Path(__file__).resolve().parents[2]
STATE = CHECKOUT / ".state" / "mutants"
_STARTUP_SECONDS = 120
NO_TEST = "pytest itself"
_ISOLATED = ["-m", "lab.isolation", "env", "-u", "PYTHONPATH", ".state/venv/bin/python"]
_PYTEST = ["-m", "pytest", "-q", "-p", "bench.mutants.recorder"]


def files() -> list[str]:
    """The relative paths of all files of the checkout that Git does not ignore."""
    options = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = run_checked(["git", "-C", str(CHECKOUT), *options], deadline_seconds=60)
    return sorted(path for path in listed.text.split("\0") if (CHECKOUT / path).is_file())


class Copy:
    """A copy of the checkout; it shares the Python environment and the guests' kernel."""

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
        """Run pytest with the recorder; None when it does not end before the deadline."""
        python = str(self.folder / ".state" / "venv" / "bin" / "python")
        environment = {**os.environ, "PYTHONPATH": "src", "LAB_PARENT": str(os.getpid()), **variables}
        command = ["env", "-C", str(self.folder), python, *_ISOLATED, *_PYTEST, *options]
        try:
            return run(command, deadline_seconds=deadline_seconds, environment=environment)
        except ToolError:
            return None

    def failing(self, tests: Mapping[str, float]) -> str:
        """The first test that fails, '' if none does; `tests` has the seconds of each on the unchanged sources.

        The fastest tests run first. A run that takes more than five times as long as expected counts as failed.
        """
        chosen = self.folder / "chosen.json"  # not in .state: an isolated run has its own
        chosen.write_text(json.dumps(sorted(tests, key=lambda test: tests[test])), encoding="utf-8")
        modules = sorted({test.partition("::")[0] for test in tests})
        deadline = _STARTUP_SECONDS + 5 * sum(tests.values())
        finished = self.pytest(["-x", *modules], deadline, MUTANTS_CHOSEN=str(chosen))
        if finished is None:
            return f"no end within {deadline:.0f} s"
        failed = [
            line for line in finished.text.splitlines() if line.startswith(("FAILED tests/", "ERROR tests/"))
        ]
        return "" if finished.exit_status == 0 else (failed or [NO_TEST])[0].partition(" - ")[0]
