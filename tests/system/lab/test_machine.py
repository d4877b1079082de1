"""A machine made of a mount namespace: what is its own, what is not, and that nothing of it stays."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from lab import sshd
from lab.namespace import FOLDERS, Machine
from lab.processes import all_process_ids, end, identify
from rocks.errors import StateError, ToolError
from rocks.process import run, run_checked, start_in_background
from tests.system.lab.conftest import CHECKOUT, assert_nothing_is_left


def test_its_folders_are_its_own_and_this_machine_sees_none_of_it(machine: Machine) -> None:
    machine.start()
    for place in FOLDERS:
        machine.run_checked(["/usr/bin/touch", f"{place}/made-inside"], 5)
        assert (machine.outside(place) / "made-inside").exists()
        assert not Path(place, "made-inside").exists()
    mounts = Path("/proc/self/mounts").read_text(encoding="utf-8")
    assert str(machine.folder).replace(" ", "\\040") not in mounts


def test_starting_twice_keeps_the_first_and_stopping_twice_is_harmless(machine: Machine) -> None:
    machine.start()
    holder = machine.holder()
    machine.start()
    assert holder is not None and machine.holder() == holder
    assert machine.stop()
    assert machine.stop() == []
    assert_nothing_is_left(machine)


def test_two_machines_live_beside_each_other(machine: Machine, machines_folder: Path) -> None:
    other = Machine(machines_folder / "other")
    other.folder.mkdir()
    machine.start()
    other.start()
    machine.run_checked(["/usr/bin/touch", "/etc/rocks/first"], 5)
    assert other.run(["/usr/bin/test", "-e", "/etc/rocks/first"], 5).exit_status == 1
    machine.stop()
    # The mount points are still needed, and the second machine's mounts are still on them.
    other.run_checked(["/usr/bin/mountpoint", "--quiet", "/etc/rocks"], 5)
    other.stop()
    assert_nothing_is_left(other)


def test_after_its_holder_was_killed_it_is_found_by_who_lives_in_it(machine: Machine) -> None:
    machine.start()
    daemon = machine.start_daemon("napper", ["/usr/bin/sleep", "300"])
    holder = machine.holder()
    assert holder is not None
    end([holder], grace_seconds=0)
    assert not machine.is_running()
    assert [member.process_id for member in machine.members()] == [daemon.process_id]
    machine.start()
    assert machine.is_running() and machine.daemon("napper") is None
    machine.stop()
    assert_nothing_is_left(machine)


class Credulous(Machine):
    """Takes everybody for its own. To be looked at only: what it would stop is everybody's."""

    def _is_inside(self, process_id: int) -> bool:
        return True


def test_processes_of_this_machine_itself_are_never_members(tmp_path: Path) -> None:
    """Whatever they look like: all members are ended when a machine stops."""
    numbers = [member.process_id for member in Credulous(tmp_path).members()]
    assert os.getpid() not in numbers and 1 not in numbers
    assert not any(_shares_our_namespace(number) for number in numbers)


def test_a_starter_that_is_killed_leaves_no_namespace_that_nobody_knows(
    machine: Machine, tmp_path: Path
) -> None:
    """Killed at several moments: what came up is found and ended."""
    code = "import sys; from pathlib import Path; from lab.namespace import Machine; Machine(Path(sys.argv[1])).start()"
    environment = {"PYTHONPATH": f"{CHECKOUT}:{CHECKOUT / 'src'}", "PATH": os.environ["PATH"]}
    for milliseconds in range(40, 200, 20):
        number = start_in_background(
            [sys.executable, "-c", code, str(machine.folder)], tmp_path / "log", environment
        )
        starter = identify(number)
        time.sleep(milliseconds / 1000)
        if starter is not None:
            end([starter], grace_seconds=0)
        end_at = time.monotonic() + 20
        while _processes_naming(str(machine.folder)):  # the holder finishes by itself what it has begun
            assert time.monotonic() < end_at
            machine.stop()
            time.sleep(0.02)


def test_a_record_of_another_process_is_not_believed(machine: Machine, tmp_path: Path) -> None:
    """After a reboot the holder's number may belong to anybody."""
    machine.holder_record.write_text(f"{os.getpid()} 1\n")
    assert not machine.is_running()
    with pytest.raises(StateError, match="does not run"):
        machine.command(["/usr/bin/true"])
    machine.start()
    assert machine.is_running()


def test_a_state_folder_below_what_the_machine_covers_is_refused() -> None:
    with pytest.raises(StateError, match="/opt/rocks"):
        Machine(Path("/opt/rocks/checkout/.state/demo")).start()
    assert not Path("/opt/rocks/checkout").exists()


def test_a_daemon_that_ends_at_once_leaves_its_last_words(machine: Machine) -> None:
    machine.start()
    with pytest.raises(ToolError, match="sshd"):
        sshd.start(machine, "", port=-1)
    assert machine.daemon("sshd") is None


def test_who_comes_in_by_ssh_is_inside(machine: Machine, tmp_path: Path) -> None:
    machine.start()
    key = tmp_path / "key"
    run_checked(["/usr/bin/ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], deadline_seconds=10)
    server = sshd.start(machine, key.with_suffix(".pub").read_text(), address="127.0.0.9")
    assert sshd.start(machine, "") == server
    known = tmp_path / "known_hosts"
    known.write_text(f"[{server.address}]:{server.port} {server.host_key}\n")
    options = ["-o", "StrictHostKeyChecking=yes", "-o", f"UserKnownHostsFile={known}", "-o", "BatchMode=yes"]
    way = [
        "/usr/bin/ssh",
        "-F",
        "none",
        "-i",
        str(key),
        *options,
        "-p",
        str(server.port),
        f"root@{server.address}",
    ]
    run_checked([*way, "touch /etc/rocks/by-ssh"], deadline_seconds=20)
    assert (machine.outside("/etc/rocks") / "by-ssh").exists()
    sshd.stop(machine)
    assert run([*way, "true"], deadline_seconds=20).exit_status == 255


def _processes_naming(word: str) -> list[int]:
    """Processes with the word in their arguments or environment."""
    found = []
    for number in all_process_ids():
        try:
            texts = [Path(f"/proc/{number}/{name}").read_bytes() for name in ("cmdline", "environ")]
        except OSError:
            continue
        if number != os.getpid() and any(word.encode() in text for text in texts):
            found.append(number)
    return found


def _shares_our_namespace(process_id: int) -> bool:
    try:
        return Path(f"/proc/{process_id}/ns/mnt").readlink() == Path("/proc/self/ns/mnt").readlink()
    except OSError:
        return False  # it has ended
