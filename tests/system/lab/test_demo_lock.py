"""One demo of a checkout at a time: a second one is refused before its set-up, which takes minutes."""

import fcntl
import os
import shutil
from pathlib import Path

import pytest

from rocks.core.process import Finished, run
from tests.system.lab.conftest import CHECKOUT

SETUP = '#!/bin/sh\necho "$@" >>.state/set-up\n'


@pytest.fixture
def checkout(machines_folder: Path) -> Path:
    """A checkout whose set-up, libraries, image and programs only write that they ran; not its `lab`."""
    (machines_folder / "tools").mkdir()
    (machines_folder / ".state").mkdir()
    for name in ("Makefile", "version.mk", "lab", "src"):
        (machines_folder / name).symlink_to(CHECKOUT / name)
    shutil.copy(CHECKOUT / "tools" / "demo-lock", machines_folder / "tools")
    for name in ("setup", "browser-libraries", "debian-sources", "guest-image", "owner-day"):
        (machines_folder / "tools" / name).write_text(SETUP)
        (machines_folder / "tools" / name).chmod(0o755)
    return machines_folder


def make(checkout: Path, target: str, *more: str) -> Finished:
    arguments = ["/usr/bin/make", "--no-print-directory", "-C", str(checkout), target, *more]
    environment = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    return run(arguments, deadline_seconds=60, environment=environment)


@pytest.mark.parametrize(
    "target", ["demo", "demo-day", "demo-cluster", "demo-slurm", "demo-pragma", "demo-stop"]
)
def test_a_second_one_is_refused_before_its_set_up(checkout: Path, target: str) -> None:
    with (checkout / ".state" / "demo.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ended = make(checkout, target)
    assert ended.exit_status != 0 and "another make demo or demo-stop of this checkout is" in ended.error_text
    assert "run make demo-stop" in ended.error_text and not (checkout / ".state" / "set-up").exists()


def test_rocks_and_comet_say_that_a_demo_is_being_built(checkout: Path) -> None:
    """Before its Python is there, and after."""
    (checkout / "bin").mkdir()
    python = checkout / ".state" / "venv" / "bin" / "python"

    def printed(program: str) -> str:
        shutil.copy(CHECKOUT / "bin" / program, checkout / "bin")
        environment = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
        ended = run([str(checkout / "bin" / program), "ll"], deadline_seconds=60, environment=environment)
        assert ended.exit_status != 0
        return ended.error_text

    with (checkout / ".state" / "demo.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        building = f"A demo is being built or stopped in {checkout}; repeat this when that make has ended"
        assert printed("rocks") == building
        python.parent.mkdir(parents=True)
        python.write_text("#!/bin/sh\nexit 1\n")
        python.chmod(0o755)
        for program in ("rocks", "comet"):
            assert building in printed(program)
    for program in ("rocks", "comet"):
        assert "No demo runs" in printed(program)


def test_the_lab_takes_over_the_lock_of_its_set_up(checkout: Path) -> None:
    """Through a make in a make; and the lock ends with the demo."""
    program = 'from lab.__main__ import main; raise SystemExit(main(["demo-stop"]))'
    lab = f"LAB=exec env PYTHONPATH=src python3 -c '{program}'"
    for _ in range(2):
        ended = make(checkout, "demo-slurm", lab)
        assert ended.exit_status == 0, ended.error_text
        assert ended.text.count("the demo does not run and has no files") == 2
    assert "slurm\ndemo\n.state/browser\n" in (checkout / ".state" / "set-up").read_text()
