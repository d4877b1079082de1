"""What demo and lab print: commands that work as they stand, and what the next make does after a failure."""

import re
import shlex
from contextlib import nullcontext
from pathlib import Path

import pytest

from lab import __main__ as program
from lab.demos import demo
from lab.machines import demo as lab_demo
from lab.site import Site
from rocks.cli.main import find_command
from rocks.commands._framework.arguments import parse_arguments
from rocks.commands._framework.declarations import check_given
from rocks.commands._framework.tree import OUR_TREE, load_package
from rocks.core.errors import StateError
from rocks.core.process import run
from rocks.database.connection import UnconfiguredDatabase

# Commands that demo and lab print work when a line is copied as it stands.


CHECKOUT = Path(__file__).parents[3]
TEXTS = {
    "demo": demo._closing_text(Path("/demo")),
    "lab": lab_demo._CLOSING_TEXT.format(
        nas="nas-0-0", guest="vm-vc1-0", host="vmh1", vlan=2, console="/var/log/console"
    ),
}


@pytest.mark.parametrize("name", TEXTS)
def test_each_line_is_a_command_that_takes_its_arguments(name: str) -> None:
    lines = [line for line in TEXTS[name].splitlines() if line.startswith("  bin/rocks ")]
    assert len(lines) >= 5
    for line in lines:
        _, *typed = shlex.split(line, comments=True)
        command_path, rest = find_command(typed, [OUR_TREE])
        command = load_package(command_path, [OUR_TREE]).Command(UnconfiguredDatabase(StateError("none")))
        check_given(command, parse_arguments(rest))


def test_quoted_programs_of_the_lab_exist() -> None:
    quoted = re.findall(r"`([^`]+)`", TEXTS["lab"])
    assert {"bin/lab run bash", "bin/lab ssh vmh1", "bin/lab clean", "make lab-stop"} == set(quoted)


def test_the_lab_is_started_from_any_folder(tmp_path: Path) -> None:
    command = ["env", "-C", str(tmp_path), str(CHECKOUT / "bin" / "lab"), "ssh", "nobody"]
    ended = run(command, deadline_seconds=60)
    assert ended.exit_status == 1
    assert ended.error_output.startswith(b"Error: usage: bin/lab ssh ")


# What `make demo` and its like say after a failure: what the next make does with the site that is there.


@pytest.mark.parametrize("target", ["demo", "demo-cluster"])
def test_a_failure_says_that_the_site_stays_and_what_begins_anew(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*arguments: object) -> None:
        raise StateError("vm-vc1-0 does not start")

    monkeypatch.setattr(program, "_STATE", tmp_path)
    monkeypatch.setattr(program, "_demo", fail)
    monkeypatch.setattr(program, "_image_demo", fail)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("lab.system_calls.die_with_starter", lambda: None)
    monkeypatch.setattr(program, "_locked", nullcontext)
    Site(tmp_path / "demo", tmp_path / "cache").folder.mkdir()
    assert program.main([target]) == StateError("").exit_status
    assert capsys.readouterr().err == (
        "Error: vm-vc1-0 does not start\n"
        f"The incomplete demo has ended; its files stay. `make {target}` repeats its steps on it, and keeps the "
        f"site's records and changes; `make demo-stop` removes it, and `make {target}` then begins anew. "
        f"Logs are in {tmp_path}/demo/log.\n"
    )
