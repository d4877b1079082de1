"""`bin/rocks`, `bin/comet` and `bin/nucleus` find their checkout and its site from anywhere."""

import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import rocks
from lab import database
from lab.namespace import Machine
from rocks.core.process import Finished, run, start_with_pipes
from tests.patience import patience
from tests.system.lab.conftest import CHECKOUT
from tests.waiting import wait_until

VERSION = ["report", "version"]


@pytest.fixture
def checkout(machines_folder: Path) -> Iterator[Path]:
    """A checkout with blanks in its path, below a folder that only root may enter."""
    checkout = machines_folder / "a check out"
    (checkout / "bin").mkdir(parents=True)
    for program in ("rocks", "comet"):
        shutil.copy(CHECKOUT / "bin" / program, checkout / "bin")
    (checkout / ".state").mkdir()
    (checkout / ".state" / "venv").symlink_to(CHECKOUT / ".state" / "venv")
    (checkout / "src").symlink_to(CHECKOUT / "src")
    yield checkout
    shutil.rmtree(checkout)


def called(
    arguments: list[str], state: Path | None = None, more: Mapping[str, str] | None = None
) -> Finished:
    environment: Mapping[str, str] = {
        "PATH": os.environ["PATH"],
        **(more or {}),
        **({"ROCKS_STATE": str(state)} if state else {}),
    }
    return run(arguments, deadline_seconds=30, environment=environment)


def test_it_works_from_other_folders_through_links_and_with_blanks(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "rocks").symlink_to(checkout / "bin" / "rocks")
    for way in (
        [str(checkout / "bin" / "rocks")],
        [str(tmp_path / "rocks")],
        ["/usr/bin/env", "-C", str(checkout), "bin/rocks"],
        ["/usr/bin/env", "-C", str(checkout / "bin"), "sh", "rocks"],
        ["/usr/bin/env", f"PATH={checkout / 'bin'}:{os.environ['PATH']}", "rocks"],
    ):
        finished = called([*way, *VERSION])
        assert finished.text.strip() == rocks.__version__, (way, finished)


def test_without_an_environment_the_error_names_what_makes_one(checkout: Path) -> None:
    (checkout / ".state" / "venv").unlink()
    finished = called([str(checkout / "bin" / "rocks"), *VERSION])
    advice = f"to have a site, run `make demo` in {checkout} as root, for the programs alone `make setup`"
    assert finished.exit_status == 1 and finished.error_text.endswith(advice), finished


def test_without_a_demo_the_error_names_make_demo(checkout: Path) -> None:
    advice = f"run `make demo` in {checkout} as root"
    program = str(checkout / "bin" / "rocks")
    without = called([program, "list", "host"])
    assert without.exit_status == 1
    assert "cannot reach the cluster database" in without.error_text and advice in without.error_text
    stated = called([program, "list", "host"], more={"ROCKS_DATABASE_SOCKET": "/none/mysql.sock"})
    assert stated.exit_status == 1 and "make demo" not in stated.error_text, "somebody else's database"
    assert called([program, "no", "such"]).error_text.count("make demo") == 0


@pytest.mark.parametrize("init", ["", "4194305 1", f"{os.getpid()} 1"], ids=["none", "ended", "another"])
def test_the_socket_of_an_interrupted_demo_is_not_asked(checkout: Path, tmp_path: Path, init: str) -> None:
    socket = tmp_path / "state" / "root/var/opt/rocks/mysql/mysql.sock"
    socket.parent.mkdir(parents=True)
    socket.touch()
    (tmp_path / "state" / "init").write_text(f"{init}\n")
    ended = called([str(checkout / "bin" / "rocks"), "list", "host"], tmp_path / "state")
    assert ended.exit_status == 1 and f"run `make demo` in {checkout} as root" in ended.error_text
    assert str(socket) not in ended.error_text


def test_comet_without_a_demo_names_make_demo(checkout: Path, tmp_path: Path) -> None:
    advice = f"run `make demo` in {checkout} as root"
    program, folder = str(checkout / "bin" / "comet"), {"HOME": str(tmp_path)}
    nothing = called([program, "ll"], more=folder)
    assert nothing.exit_status == 2 and advice in nothing.error_text.partition("comet init")[0]
    asked = called([program, "init", "--url=http://127.0.0.1:1"], more=folder)
    assert asked.exit_status == 2 and advice not in asked.error_text.partition("--user")[0], "as it is asked"
    assert called([program, "--version"], more=folder).error_text == ""
    assert called([str(CHECKOUT / "bin" / "cm"), "comet", "--version"], more=folder).text.startswith("comet ")
    state = tmp_path / "state"
    (state / "nucleus").mkdir(parents=True)
    settings = (
        'active = "demo"\n[endpoints.demo]\nurl = "http://127.0.0.1:1/nucleus"\ntoken = "nuc_12345678_x"\n'
    )
    (state / "nucleus" / "comet.toml").write_text(settings)
    (state / "nucleus" / "comet.toml").chmod(0o600)
    (state / "init").write_text(f"{os.getpid()} 1\n")
    ended = called([program, "ll"], state, more=folder)
    assert ended.exit_status == 6 and advice in ended.error_text
    assert (state / "nucleus" / "cache").exists() and not (tmp_path / ".cache").exists()
    (tmp_path / ".config" / "comet").mkdir(parents=True)
    (tmp_path / ".config" / "comet" / "config.toml").write_text(settings.replace("demo", "own"))
    own = called([program, "ll"], more=folder)
    assert own.exit_status == 6 and "make demo" not in own.error_text, "somebody's own server"


def test_arguments_with_blanks_and_shell_characters_are_preserved(checkout: Path) -> None:
    argument = "no such; $(command) 'with' \"quotes\" *"
    finished = called([str(checkout / "bin" / "rocks"), argument])
    assert finished.exit_status == 255 and argument in finished.error_text


def test_a_stale_record_of_a_demo_is_not_entered(checkout: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / "init").write_text(f"{os.getpid()} 1\n")
    finished = called([str(checkout / "bin" / "rocks"), *VERSION], state)
    assert finished.exit_status == 0 and finished.error_text == ""


def test_a_test_run_has_no_demo_though_one_comes_and_goes(checkout: Path) -> None:
    """A test's site would change the user's; the run sees everything else below `.state`."""
    (checkout / "lab").symlink_to(CHECKOUT / "lab")
    demo, cache = checkout / ".state" / "demo", checkout / ".state" / "cache"
    for folder in (demo, cache):
        folder.mkdir()
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{checkout}:{checkout / 'src'}"}
    script = 'ls "$0"; touch "$0/cache/made"; echo end; read line; ls "$0"'
    isolated = ["/usr/bin/env", "-C", str(checkout), sys.executable, "-m", "lab.isolation"]
    run_of_tests = start_with_pipes([*isolated, "sh", "-c", script, str(demo.parent)], environment)
    first = [line.decode().strip() for line in iter(run_of_tests.stdout.readline, b"end\n")]
    demo.rmdir()
    demo.mkdir()
    last, _ = run_of_tests.communicate(b"\n", timeout=patience(30))
    assert first == last.decode().split() == ["cache", "tmp", "venv"]
    assert demo.is_dir() and (cache / "made").exists() and run_of_tests.returncode == 0


@pytest.mark.slow
def test_root_is_taken_into_the_running_site_and_keeps_the_folder(machine: Machine) -> None:
    """Commands find the database where the machine has it, and start where they were called."""
    machine.start()
    database.start(machine)
    program = str(CHECKOUT / "bin" / "rocks")
    for arguments in (
        ["update", "database"],
        ["add", "host", "head", "membership=Frontend", "rack=0", "rank=0"],
        ["set", "attr", "Kickstart_PrivateHostname", "head"],
    ):
        assert called([program, *arguments], machine.folder).exit_status == 0
    here = str(machine.folder)
    arguments = ["run", "host", "head", "pwd; ls /var/opt/rocks/mysql/data"]
    finished = called(["/usr/bin/env", "-C", here, program, *arguments], machine.folder)
    lines = finished.text.splitlines()
    assert finished.exit_status == 0 and lines[0] == here and "mysql" in lines


def test_nucleus_has_the_settings_of_the_service_that_runs(machine: Machine) -> None:
    """As `make demo-slurm` has them beside the file, while it runs."""
    machine.start()
    program = machine.outside("/opt/rocks/bin/nucleus")
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\necho "$NUCLEUS_BATCH_KIND $NUCLEUS_BATCH_HOSTS $*"\n')
    program.chmod(0o755)
    arguments = [str(CHECKOUT / "bin" / "nucleus"), "host", "add", "head-[0-1] x"]
    assert called(arguments, machine.folder).text == "  host add head-[0-1] x\n"
    variables = ["NUCLEUS_BATCH_KIND=slurm", "NUCLEUS_BATCH_HOSTS=head,*"]
    machine.start_daemon("nucleus-serve", ["/usr/bin/env", *variables, "/usr/bin/sleep", "300"])
    printed = "slurm head,* host add head-[0-1] x\n"  # env may not have become the daemon yet
    wait_until(lambda: called(arguments, machine.folder).text == printed, "it has the daemon's settings")
    machine.stop_daemon("nucleus-serve", 10)
    ended = called(arguments, machine.folder)
    assert (ended.text, ended.error_text) == ("  host add head-[0-1] x\n", "")


@pytest.mark.slow
def test_a_file_in_a_folder_of_the_demo_s_machine_is_named_by_its_place_outside(machine: Machine) -> None:
    machine.start()
    program = str(CHECKOUT / "bin" / "rocks")
    for folder, is_another in (("/opt", True), (str(machine.folder), False)):
        for file in (f"{folder}/x", f"{folder}/x-aa,x-ab", f"{folder}/x-aa,{folder}/x-ab"):
            note = called([program, "no", "such", f"file={file}"], machine.folder).error_text
            named = (
                f"note: the demo's machine has a folder {folder}/ of its own; outside it is /proc/" in note
            )
            assert named == is_another and ("note:" in note) == is_another
    note = called([program, "open", "host", "console", "x", "type=vnc"], machine.folder).error_text
    assert "note: the path of a screen is one of the demo's machine; outside it begins with /proc/" in note


@pytest.mark.slow
def test_a_backup_of_the_demo_s_database_is_restored_in_its_machine(machine: Machine) -> None:
    """The note has the shell for the command that is printed, whose socket and copy are the machine's."""
    machine.start()
    database.start(machine)
    program = str(CHECKOUT / "bin" / "rocks")

    def done(*arguments: str) -> Finished:
        finished = called([program, *arguments], machine.folder)
        assert finished.exit_status == 0, finished
        return finished

    assert "note: " not in done("update", "database").error_text
    done("set", "attr", "colour", "red")
    lines = done("update", "database", "backup=yes").error_text.splitlines()
    (note,) = (line for line in lines if line.startswith("note: the command that restores a backup"))
    (restore,) = (line for line in lines if line.startswith("to restore it: "))
    done("set", "attr", "colour", "blue")
    shell, typed = note.partition("machine: ")[2], restore.removeprefix("to restore it: ")
    restored = called(["sh", "-c", f"{shell} -c {shlex.quote(typed)}"], machine.folder)
    assert restored.exit_status == 0, restored
    assert "red" in done("list", "attr", "output-header=no").text
    assert "blue" not in done("list", "attr", "output-header=no").text
