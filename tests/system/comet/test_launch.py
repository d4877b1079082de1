"""`comet launch` with a real server, whose site is simulated; a program stands for ssh."""

import json
import subprocess  # noqa: TID251 - the program is killed while it works
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.contract.ssh_programs import path_with, write_ssh_programs
from tests.patience import patience
from tests.system.comet.conftest import SOURCE, Result, Site
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

LAUNCHER = """
nodes = 2
walltime = "1h"
command = "echo x >>../../runs; touch ../../begun; while [ ! -e ../../go ]; do sleep 0.1; done; cat nodes >found"
results = ["found"]
"""


class Ann:
    """Ann at a folder with a launcher; `root` has the hosts of the programs."""

    def __init__(self, day: Site, folder: Path) -> None:
        self.day, self.folder, self.root = day, folder, folder / "hosts"
        self.path = path_with(write_ssh_programs(self.root))
        (folder / "work").mkdir()
        (folder / "work" / "launcher.toml").write_text(LAUNCHER)

    def switch_frontend_on(self) -> None:
        assert self.day.comet("ann", "power", "on", "vc2", "--wait=300").status == 0

    def start(self, *more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-S", "-m", "comet", "launch", "work", "--group=g", *more],
            env={"HOME": str(self.day.folder / "ann"), "PYTHONPATH": str(SOURCE), "PATH": self.path},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *more: str) -> Result:
        process = self.start(*more)
        out, err = process.communicate(timeout=patience(120))
        assert "Traceback" not in err
        return Result(process.returncode, out, err)

    def wait_for(self, name: str, process: subprocess.Popen[str]) -> None:
        """Until a command of the launch has made the file."""
        self.wait_until(
            lambda: list(self.root.glob(f"*/{name}")), process, f"the command has not made {name}"
        )

    def wait_until(
        self, condition: Callable[[], object], process: subprocess.Popen[str], problem: str
    ) -> None:
        """Until the launch has brought it about. AssertionError with what it printed if it ends before."""

        def holds() -> bool:
            has_ended, found = process.poll() is not None, bool(condition())
            assert found or not has_ended, (problem, process.communicate())
            return found

        wait_until(holds, problem)

    def sets(self) -> list[tuple[object, ...]]:
        return self.day.rows("SELECT walltime_minutes, state FROM computeset ORDER BY id")


@pytest.fixture
def ann(day: Site, tmp_path: Path) -> Ann:
    return Ann(day, tmp_path)


def test_a_launch_that_is_killed_has_one_computeset_which_ends(ann: Ann) -> None:
    with ann.day.at_work():
        ann.switch_frontend_on()
        process = ann.start()
        ann.wait_for("begun", process)
        process.kill()
        process.communicate()
        assert ann.sets() == [(60, "running")]
        (frontend,) = ann.root.glob("*/begun")
        (frontend.parent / "go").touch()
        found = ann.run()
        assert found.status == 0, found
        assert (frontend.parent / "runs").read_text() == "x\n"
        assert len((ann.folder / "g-results" / "found").read_text().split()) == 2
        assert ann.sets() in ([(60, "ending")], [(60, "cancelled")])


def test_a_killed_launch_on_a_computeset_that_was_there_starts_none(ann: Ann) -> None:
    """As the page of computesets starts it, with other nodes and another walltime than those of the file."""
    with ann.day.at_work():
        ann.switch_frontend_on()
        assert ann.day.comet("ann", "start", "vc2", "--count=1", "--walltime=3h").status == 0
        (number,) = ann.day.rows("SELECT id FROM computeset")[0]
        process = ann.start(f"--computeset={number}")
        ann.wait_for("begun", process)
        process.kill()
        process.communicate()
        (frontend,) = ann.root.glob("*/begun")
        (frontend.parent / "go").touch()
        found = ann.run(f"--computeset={number}")
        assert found.status == 0, found
        assert len((ann.folder / "g-results" / "found").read_text().split()) == 1
        assert ann.sets() in ([(180, "ending")], [(180, "cancelled")])


def test_a_launch_that_does_not_know_whether_it_started_a_computeset_finds_it(ann: Ann) -> None:
    """The state says that the request may have been sent; the server has answered it."""
    state = ann.day.folder / "ann" / ".local" / "state" / "comet" / "launch" / "g.json"
    with ann.day.at_work():
        ann.switch_frontend_on()
        process = ann.start()
        ann.wait_until(ann.sets, process, "no computeset was started")
        process.kill()
        process.communicate()
        launch = json.loads(state.read_text())
        assert launch["step"] == "work"
        state.write_text(json.dumps(launch | {"computeset": None}))
        process = ann.start()
        ann.wait_for("begun", process)
        process.terminate()
        out, err = process.communicate(timeout=patience(120))
        assert process.returncode == 130 and "it was interrupted" in err, (out, err)
        assert len(ann.sets()) == 1 and ann.sets()[0][1] in ("ending", "cancelled")
