"""A driver's programs that are slow, hang or go on alone: `clean` while a boot takes its name, and `status`."""

import json
import os
import signal
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from subprocess import Popen  # noqa: TID251 - the type of what `start` returns

import pytest

from tests.patience import patience
from tests.system.commands.conftest import Site, processes
from tests.system.commands.test_commands_at_once import start
from tests.system.pragma.conftest import TREE
from tests.waiting import wait_until

__all__ = ["processes"]

WAIT = """touch {0}/began
for number in $(seq 600); do [ ! -e {0}/go ] || break; sleep 0.1; done
"""
"""Lines of a program that goes on when the file `go` is there."""


@pytest.fixture
def boot(local: Site, programs: Path, processes: dict[str, str], tmp_path: Path) -> Callable[[], Popen[str]]:
    """Start a boot of a frontend, as a process."""
    environment = {**processes, "ROCKS_TREES": str(TREE), "HOME": str(tmp_path)}
    return lambda: start(environment, "pragma", "boot", "dock6", "0", f"key={tmp_path / 'key.pub'}")


def left_by_a_killed_boot(tmp_path: Path) -> Path:
    """Its folder, whose cluster has the name dock."""
    left = tmp_path / "repository/.clusters/dock6-killed"
    left.mkdir(parents=True)
    (left / ".unfinished").touch()
    (left / "vc-out.xml").write_text("<vc><frontend><public fqdn='dock.example.org'/></frontend></vc>")
    return left


def write(program: Path, text: str) -> None:
    program.write_text(f"#!/bin/sh\n{text}")


@pytest.mark.parametrize("is_killed", [False, True])
def test_no_boot_gets_the_name_of_machines_that_clean_still_removes(
    local: Site, programs: Path, boot: Callable[[], Popen[str]], tmp_path: Path, is_killed: bool
) -> None:
    """`clean` is for what a killed boot has left. It goes on when the boot that has started it is killed, too."""
    left = left_by_a_killed_boot(tmp_path)
    write(programs / "clean", WAIT.format(tmp_path))
    line = f"pragma boot dock6 0 key={tmp_path / 'key.pub'}"
    local.done("pragma sync repository")
    cleaning = boot()
    wait_until((tmp_path / "began").exists)
    if is_killed:
        os.kill(cleaning.pid, signal.SIGKILL)
        cleaning.communicate(timeout=patience(30))
    refused = local.refused(line)
    assert "has given the name dock, and " in refused and "; repeat the command" in refused
    assert left.exists()
    (tmp_path / "go").touch()
    if is_killed:
        wait_until(lambda: local.rocks(line).out.startswith("Allocated cluster dock "))
        # `clean` may have ended while the last boot went on: then what it has left is removed by the next one
        assert "has given the name dock, which a cluster has already" in local.refused(line)
        (folder,) = (tmp_path / "repository/.clusters").iterdir()  # nothing is left of the others
        assert not (folder / ".unfinished").exists()
    else:
        out, error = cleaning.communicate(timeout=patience(60))
        assert out.startswith("Allocated cluster dock "), error


def test_no_boot_gets_the_name_of_a_cluster_that_was_removed_during_its_allocate(
    local: Site, programs: Path, boot: Callable[[], Popen[str]], tmp_path: Path
) -> None:
    """`clean` has ended, but nobody knows whether it has removed machines of the new cluster."""
    line = f"pragma boot dock6 0 key={tmp_path / 'key.pub'}"
    assert local.rocks(line).out.startswith("Allocated cluster dock ")
    write(programs / "status", "printf 'dock nostate\\nn0 nostate\\n'\n")
    allocate = (programs / "allocate").read_text().removeprefix("#!/bin/sh\n")
    write(programs / "allocate", WAIT.format(tmp_path) + allocate)
    second = boot()
    wait_until((tmp_path / "began").exists)
    local.done("pragma clean dock")
    (tmp_path / "go").touch()
    out, error = second.communicate(timeout=patience(60))
    assert out == "" and "has given the name dock, and " in error, (out, error)
    assert list((tmp_path / "repository/.clusters").iterdir()) == []
    assert local.rocks(line).out.startswith("Allocated cluster dock ")


def test_one_command_at_a_time_removes_a_cluster(local: Site, programs: Path, tmp_path: Path) -> None:
    assert local.rocks(f"pragma boot dock6 0 key={tmp_path / 'key.pub'}").out
    write(programs / "status", "printf 'dock nostate\\nn0 nostate\\n'\n")
    (folder,) = (tmp_path / "repository/.clusters").iterdir()
    executables = import_module("rocks.commands.pragma._shared.executables")
    with executables.locked(folder):
        assert "another command removes dock, or " in local.refused("pragma clean dock")
    local.done("pragma clean dock")
    assert not folder.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "reason"),
    [("sleep 60", "did not end within 1 s and was killed"), ("echo broken >&2; exit 3", "status 3: broken")],
)
def test_a_status_that_hangs_or_fails_is_one_cluster_whose_state_is_unknown(
    local: Site, programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, reason: str
) -> None:
    """The others are listed. A shutdown of that cluster goes on, and nothing takes its machines for off."""
    local.done("pragma list cluster")
    executables = import_module("rocks.commands.pragma._shared.executables")
    monkeypatch.setattr(executables, "_STATUS_SECONDS", 1.0)
    for name in ("dock", "lake"):
        folder = tmp_path / f"repository/.clusters/dock6-{name}"
        folder.mkdir(parents=True)
        (folder / "vc-out.xml").write_text(f"<vc><frontend><public fqdn='{name}.local'/></frontend></vc>")
    write(programs / "status", f"case $1 in *dock) {fault} ;; esac\necho lake nostate\n")
    write(programs / "shutdown", f"touch {tmp_path}/shut\n")
    (programs / "shutdown").chmod(0o755)
    ended = local.rocks("pragma list cluster json=yes")
    listed = [(one["frontend"], one["cluster"][0]["status"]) for one in json.loads(ended.out)]
    assert (ended.status, listed) == (0, [("dock", "unknown"), ("lake", "nostate")])
    assert "Warning: the state of dock is unknown: " in ended.err and reason in ended.err
    assert "lake" not in ended.err
    refused = local.rocks("pragma clean dock")
    assert refused.status == 1 and "dock is not removed: dock may run; " in refused.err
    assert local.rocks("pragma shutdown dock").status == 0 and (tmp_path / "shut").exists()
