"""One demo of a checkout at a time: a second one is refused before its set-up, which takes minutes."""

import fcntl
import os
import shutil
import signal
from pathlib import Path

import pytest

from rocks.core.process import Finished, run, start_in_background
from tests.system.lab.conftest import CHECKOUT
from tests.waiting import wait_until

SETUP = '#!/bin/sh\necho "$@" >>.state/set-up\n'


@pytest.fixture
def checkout(machines_folder: Path) -> Path:
    """A checkout whose set-up, libraries, image and programs only write that they ran; not its `lab`."""
    (machines_folder / "tools").mkdir()
    (machines_folder / ".state").mkdir()
    for name in ("Makefile", "version.mk", "lab", "src"):
        (machines_folder / name).symlink_to(CHECKOUT / name)
    shutil.copy(CHECKOUT / "tools" / "demo-lock", machines_folder / "tools")
    (machines_folder / "tools" / "end-together").symlink_to(CHECKOUT / "tools" / "end-together")
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


def test_a_stop_in_a_new_checkout_leaves_nothing(checkout: Path) -> None:
    (checkout / ".state").rmdir()
    ended = make(checkout, "demo-stop")
    assert (ended.exit_status, ended.text.strip()) == (0, "the demo does not run and has no files"), ended
    assert not (checkout / ".state").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_owners_day_ends_with_its_make(checkout: Path, number: signal.Signals) -> None:
    """Its shells as well; until then a second make names the processes that hold the lock."""
    day = checkout / ".state" / "day"
    (checkout / "tools" / "owner-day").write_text("#!/bin/sh\n(echo >.state/day; sleep 300)\n:\n")
    command = ["/usr/bin/make", "--no-print-directory", "-C", str(checkout), "demo-day", "LAB=true"]
    started = start_in_background(command, checkout / "log", {"PATH": os.environ["PATH"]})
    try:
        wait_until(day.exists, "the owner's day")
        refused = make(checkout, "demo-stop").error_text
        holders = refused.partition("(kill ")[2].partition(")")[0].split()
        assert len(holders) >= 3 and all(Path("/proc", one).exists() for one in holders), refused
    finally:
        os.kill(started, number)
    with (checkout / ".state" / "demo.lock").open("w") as lock:
        wait_until(lambda: taken(lock.fileno()), "the end of all that held the lock")


def taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


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


@pytest.mark.parametrize(
    ("taken_word", "named"), [("owner-day", "owner-day"), ("interface", "203.0.113.250")]
)
def test_an_owners_day_leaves_a_cluster_of_the_site_alone(
    checkout: Path, taken_word: str, named: str
) -> None:
    """A site that has what the day would make and remove is refused; it was only asked."""
    shutil.copy(CHECKOUT / "tools" / "owner-day", checkout / "tools")
    programs = {
        "bin/rocks": f'echo "$@" >>.state/asked; [ "$3" = {taken_word} ] && echo head eth1 203.0.113.250',
        ".state/venv/bin/python": "",
    }
    for name, text in programs.items():
        (checkout / name).parent.mkdir(parents=True)
        (checkout / name).write_text(f"#!/bin/sh\n{text}\n")
        (checkout / name).chmod(0o755)
    (checkout / ".state/demo/nucleus").mkdir(parents=True)
    (checkout / ".state/demo/init").write_text("1 1\n")
    (checkout / ".state/demo/nucleus/url").write_text("http://127.0.0.1:1/nucleus")
    environment = {"PATH": os.environ["PATH"]}
    ended = run([str(checkout / "tools" / "owner-day")], deadline_seconds=60, environment=environment)
    assert (
        ended.exit_status == 1
        and named in ended.error_text
        and "Nothing was changed" in " ".join(ended.error_text.split())
    )
    asked = (checkout / ".state/asked").read_text().splitlines()
    assert all(one.startswith("list host ") for one in asked)
