"""A demo and a test run that are killed leave no process, no mount and no device."""

import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import links
from lab.namespace import Machine
from lab.processes import ProcessIdentity, all_process_ids, end, identify, parent_of, wait_until_ended
from rocks.core.process import run, run_checked, start_in_background
from tests.patience import patience
from tests.system.lab.conftest import CHECKOUT
from tests.waiting import wait_until

TOKEN = "ROCKS_TEST_OF_KILLS"
PYTEST = """
import subprocess, time
from pathlib import Path
from lab import links
from lab.namespace import Machine

def test_that_does_not_end(tmp_path):
    links.ensure_bridge("rockskill0", "made by a test")
    machine = Machine(tmp_path / "machine")
    machine.folder.mkdir()
    machine.start()
    machine.start_daemon("napper", ["/usr/bin/sleep", "300"])
    subprocess.Popen(["/usr/bin/setsid", "--fork", "/usr/bin/sleep", "300"])
    print("complete", flush=True)
    time.sleep(300)
"""


@pytest.fixture
def checkout(machines_folder: Path) -> Iterator[Path]:
    """A checkout whose files are this one's, with a state of its own."""
    checkout = machines_folder / "checkout"
    (checkout / ".state").mkdir(parents=True)
    for name in ("bin", "lab", "src", "pyproject.toml", ".state/venv", ".state/guest"):
        (checkout / name).symlink_to(CHECKOUT / name)
    yield checkout
    shutil.rmtree(checkout)


class Run:
    """A program below a shell, as below make, with a token in the environment of all its processes."""

    def __init__(self, checkout: Path, command: str) -> None:
        self._token = f"{TOKEN}={checkout}-{time.monotonic_ns()}"
        self.log = checkout / "log"
        self.log.unlink(missing_ok=True)
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{checkout}:{checkout / 'src'}",
            "PYTHONDONTWRITEBYTECODE": "1",
            **dict([self._token.split("=", 1)]),
        }
        script = ["/bin/sh", "-c", f'cd "$0"; LAB_PARENT=$$ {command}; true', str(checkout)]
        self._shell = start_in_background(script, self.log, environment)

    def processes(self) -> list[ProcessIdentity]:
        """All processes of the run, from the shell on."""
        return [
            process
            for number in all_process_ids()
            if self._has_token(number) and (process := identify(number))
        ]

    def kill(self, generation: int) -> None:
        """SIGKILL to the shell (0), the program below it (1), or the eldest process below that (2)."""
        victim = self._shell
        for _ in range(generation):
            victim = min(
                (one.process_id for one in self.processes() if parent_of(one.process_id) == victim),
                default=victim,
            )
        process = identify(victim)
        if process is not None:
            end([process], grace_seconds=0)

    def _has_token(self, number: int) -> bool:
        try:
            return self._token.encode() in Path(f"/proc/{number}/environ").read_bytes()
        except OSError:
            return False


def mounts() -> list[str]:
    """What is mounted, without what the tests of other workers mount in their own folders meanwhile."""
    lines = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if "/pytest-of-" not in line]


@pytest.mark.parametrize("generation", [0, 1])
@pytest.mark.parametrize("seconds", [0.1, 0.4, 1.0, 3.0])
def test_a_demo_that_is_killed_before_it_is_complete(checkout: Path, generation: int, seconds: float) -> None:
    """Its machine runs a database, libvirt and perhaps a guest by then."""
    before = mounts()
    run = Run(checkout, "/usr/bin/python3 -m lab demo")
    time.sleep(seconds)
    machine = Machine(checkout / ".state" / "demo")
    members = machine.members()
    run.kill(generation)
    assert all(wait_until_ended(member, patience(10)) for member in members)
    wait_until(lambda: not run.processes() and not machine.is_running())
    assert mounts() == before
    assert not [link.name for link in links.read_links() if link.name.startswith("rocks")]
    for _ in range(2):
        run_checked(
            [
                "/usr/bin/env",
                "-C",
                str(checkout),
                "PYTHONPATH=src",
                "/usr/bin/python3",
                "-m",
                "lab",
                "demo-stop",
            ],
            deadline_seconds=patience(30),
        )
    assert not (checkout / ".state" / "demo").exists()


@pytest.mark.parametrize("generation", [0, 1, 2, 3])
@pytest.mark.parametrize("seconds", [0.1, 0.3, 0.8, None])
def test_a_test_run_that_is_killed(checkout: Path, generation: int, seconds: float | None) -> None:
    """The shell, the launcher, process 1 of the run's namespace, or pytest itself; before and after it is complete."""
    before = mounts()
    (checkout / "test_one.py").write_text(PYTEST, encoding="utf-8")
    arguments = f"'{sys.executable}' -m pytest -p no:cacheprovider -s -q test_one.py"
    run = Run(checkout, f"'{sys.executable}' -m lab.isolation {arguments}")
    if seconds is None:
        wait_until(lambda: "complete" in run.log.read_text(encoding="utf-8"))
        assert len(run.processes()) >= 7
    else:
        time.sleep(seconds)
    run.kill(generation)
    wait_until(lambda: not run.processes())
    assert mounts() == before
    assert "rockskill0" not in [link.name for link in links.read_links()]
    run_checked(
        ["/bin/sh", "-c", f'cd "$0"; "{sys.executable}" -m lab.isolation true', str(checkout)],
        deadline_seconds=patience(30),
        environment={"PATH": os.environ["PATH"], "PYTHONPATH": f"{checkout}:{checkout / 'src'}"},
    )
    assert list((checkout / ".state" / "tmp").iterdir()) == [], (
        "the next run removes the folder of the killed one"
    )


def test_a_test_run_without_a_folder_for_tmp(checkout: Path) -> None:
    """As on a full disk: refused in words, and nothing is run."""
    (checkout / ".state" / "tmp").write_text("")
    command = ["/usr/bin/env", "-C", str(checkout), "PYTHONPATH=.:src", "LAB_PARENT=" + str(os.getpid())]
    ended = run([*command, sys.executable, "-m", "lab.isolation", "/bin/echo", "run"], deadline_seconds=30)
    assert (ended.exit_status, ended.text) == (1, "")
    assert ended.error_text.startswith("Error: ") and len(ended.error_text.splitlines()) == 1
