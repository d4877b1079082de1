"""A machine made of namespaces: what is its own, what is not, and that it leaves nothing."""

import os
import sys
import time
from pathlib import Path

import pytest

from lab import links, namespace, sshd
from lab.namespace import FOLDERS, Machine
from lab.processes import command_name, end, identify, parent_of, wait_until_ended
from rocks.core.errors import StateError, ToolError
from rocks.core.process import run, run_checked, start_in_background
from tests.patience import patience
from tests.system.lab.conftest import CHECKOUT, assert_nothing_is_left, processes_naming
from tests.waiting import wait_until


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
    init = machine.init()
    machine.start()
    assert init is not None and machine.init() == init
    assert machine.stop()
    assert machine.stop() == []
    assert_nothing_is_left(machine)


@pytest.mark.slow
def test_two_machines_live_beside_each_other(machine: Machine, machines_folder: Path) -> None:
    """Same files, same process numbers, same devices, same ports: none of them meet."""
    other = Machine(machines_folder / "other")
    other.folder.mkdir()
    before = set(Path("/").iterdir())
    for one in (machine, other):
        one.start()
        assert one.in_network(lambda: links.ensure_bridge("rockstest0", "made by a test"))
        sshd.start(one, "", port=5903)
    machine.run_checked(["/usr/bin/touch", "/etc/rocks/first"], 5)
    assert other.run(["/usr/bin/test", "-e", "/etc/rocks/first"], 5).exit_status == 1
    machine.stop()
    other.run_checked(["/usr/bin/mountpoint", "--quiet", "/etc/rocks"], 5)
    assert other.daemon("sshd") is not None
    other.stop()
    assert_nothing_is_left(other)
    assert set(Path("/").iterdir()) == before and "rockstest0" not in [
        link.name for link in links.read_links()
    ]


@pytest.mark.slow
def test_changes_of_files_end_with_the_machine(machine: Machine) -> None:
    """Folders of the system are there and may be changed; this machine sees no change."""
    machine.start()
    names = [
        f"{folder}/made-inside" for folder in ("/etc", "/var/lib", "/srv", "/opt", "/run", "/dev/shm", "")
    ]
    machine.run_checked(["/usr/bin/touch", *names], 5)
    machine.run_checked(
        ["/bin/sh", "-c", "echo changed >>/etc/hostname; rm /etc/passwd; mkdir -p /export/x"], 5
    )
    assert not any(Path(name).exists() for name in (*names, "/export/x"))
    assert Path("/etc/passwd").exists() and "changed" not in Path("/etc/hostname").read_text()
    assert machine.run(["/usr/bin/touch", "/usr/made-inside"], 5).exit_status == 1
    assert machine.run(["/usr/bin/touch", "/sys/made-inside"], 5).exit_status == 1
    machine.stop()
    machine.start()
    machine.run_checked(["/usr/bin/test", "-e", "/etc/passwd"], 5)


SCRIPT = """
set -e
mount -t tmpfs none /var/lib; mount -t tmpfs none /opt
mkdir /opt/below; mount -t tmpfs none /opt/below; touch /opt/below/file
echo other >/var/lib/name; mount --bind /var/lib/name /etc/hostname
exec "$@"
"""
PROGRAM = """
import sys
from pathlib import Path
from lab.namespace import Machine
machine = Machine(Path("/var/lib/a checkout/state"))
machine.folder.mkdir(parents=True)
machine.start()
show = "ls /opt/below; cat /etc/hostname; touch '/var/lib/a checkout/state/seen'"
print(machine.run_checked(["/bin/sh", "-c", show], 5).text)
machine.run_checked(["/bin/sh", "-c", "rm /opt/below/file; touch /opt/below/made /var/lib/made"], 5)
assert machine.run(["/bin/sh", "-c", "echo changed >/etc/hostname"], 5).exit_status != 0
machine.stop()
print(*sorted(path.name for folder in ("/opt/below", "/var/lib", machine.folder) for path in Path(folder).iterdir()))
"""


def test_file_systems_that_are_mounted_below_folders_of_the_system(tmp_path: Path) -> None:
    """Their files are there, too, and do not change; a state folder below is as outside."""
    own_mounts = ["/usr/bin/unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", SCRIPT, "sh"]
    finished = run_checked(
        [*own_mounts, sys.executable, "-c", PROGRAM], deadline_seconds=30, environment=ENVIRONMENT
    )
    lines = finished.text.split("\n")
    assert lines[:2] == ["file", "other"]
    assert lines[3] == "a checkout file log name root seen"


IN_CHROOT = """
set -e
mount --rbind / /mnt
mount -t proc none /mnt/proc
cd /mnt; exec chroot . "$@"
"""
SHOW_ROOT = """
import sys
from pathlib import Path
from lab.namespace import Machine
machine = Machine(Path(sys.argv[1]))
machine.start()
machine.start_daemon("napper", ["/usr/bin/sleep", "300"])
print(machine.run_checked(["/bin/sh", "-c", "touch /etc/made-inside; ps -A -o comm="], 5).text)
"""


def test_a_machine_that_is_started_in_a_chroot(machine: Machine) -> None:
    """Programs that enter it are in its root folder, not in the one outside of the chroot."""
    own = ["/usr/bin/unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]
    program = ["/bin/sh", "-c", IN_CHROOT, "sh", sys.executable, "-c", SHOW_ROOT, str(machine.folder)]
    finished = run_checked([*own, *program], deadline_seconds=30, environment=ENVIRONMENT)
    assert finished.text.split() == ["rocks-init", "rocks-devices", "sleep", "sh", "ps"]
    assert not Path("/etc/made-inside").exists()


def test_settings_of_the_kernel_are_read_only_but_for_its_network(machine: Machine) -> None:
    machine.start()
    write = "echo {} >/proc/sys/{}"
    for setting in ("kernel/panic", "vm/swappiness"):
        value = Path("/proc/sys", setting).read_text().strip()
        ended = machine.run(["/bin/sh", "-c", write.format(value, setting)], 10)
        assert ended.exit_status != 0 and "Read-only" in ended.error_text
    opened = machine.run(["/bin/sh", "-c", ": >>/proc/sysrq-trigger"], 10)  # opens it and writes nothing
    assert opened.exit_status != 0
    machine.run_checked(["/bin/sh", "-c", write.format(1, "net/ipv4/ip_forward")], 10)


def test_it_sees_neither_processes_nor_devices_of_this_machine(machine: Machine) -> None:
    machine.start()
    names = machine.run_checked(["/usr/bin/ps", "-A", "-o", "comm="], 5).text.split()
    assert names == ["rocks-init", "rocks-devices", "ps"]
    assert machine.run_checked(["/bin/ls", "/sys/class/net"], 5).text == "lo\n"
    disks = machine.run_checked(["/usr/bin/find", "/dev", "-type", "b"], 5).text
    assert disks == ""


def test_a_machine_in_the_network_of_another(machine: Machine, machines_folder: Path) -> None:
    second = Machine(machines_folder / "second", network=machine)
    second.folder.mkdir()
    machine.start()
    second.start()
    machine.in_network(lambda: links.ensure_bridge("rockstest0", "made by a test"))
    assert "rockstest0" in second.run_checked(["/bin/ls", "/sys/class/net"], 5).text.split()
    assert not {member.process_id for member in machine.members()} & {
        member.process_id for member in second.members()
    }
    second.stop()
    machine.run_checked(["/usr/bin/test", "-e", "/sys/class/net/rockstest0"], 5)


def test_a_tap_of_a_guest_gets_its_device_node(machine: Machine, bridge: str) -> None:
    """What libvirt opens for a guest's interface; udev makes it on a machine of its own."""
    ip = ["/usr/sbin/ip", "link"]
    machine.run_checked(
        [*ip, "add", "link", bridge, "name", "guest0", "type", "macvtap", "mode", "bridge"], 5
    )
    number = machine.run_checked(["/bin/cat", "/sys/class/net/guest0/ifindex"], 5).text.strip()
    node = f"/dev/tap{number}"
    expected = machine.run_checked(["/bin/sh", "-c", "cat /sys/class/net/guest0/tap*/dev"], 5).text.strip()
    wait = f"for i in $(seq 500); do [ -c {node} ] && break; sleep 0.01; done; "
    wait += f"printf '%d:%d' $(stat -c '0x%t 0x%T' {node})"
    assert machine.run_checked(["/bin/sh", "-c", wait], 10).text == expected
    machine.run_checked([*ip, "delete", "guest0"], 5)
    machine.run_checked(
        ["/bin/sh", "-c", f"for i in $(seq 500); do [ -e {node} ] || exit 0; sleep 0.01; done; exit 1"], 10
    )


def test_a_daemon_that_has_started_is_its_program(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell records it and becomes it, which takes time on a busy machine: a list of processes had the shell."""
    slowly = namespace._RECORD_AND_BECOME.replace('exec "$@"', 'sleep 0.3; exec "$@"')
    monkeypatch.setattr(namespace, "_RECORD_AND_BECOME", slowly)
    machine.start()
    machine.start_daemon("napper", ["/usr/bin/tail", "-f", "/dev/null"])
    names = machine.run_checked(["/usr/bin/ps", "-A", "-o", "comm="], 5).text.split()
    assert names == ["rocks-init", "rocks-devices", "tail", "ps"]


@pytest.mark.parametrize("victim", ["init", "supervisor"])
def test_everything_ends_when_one_of_its_two_processes_is_killed(machine: Machine, victim: str) -> None:
    machine.start()
    machine.start_daemon("napper", ["/usr/bin/sleep", "300"])
    entered = start_in_background(machine.command(["/usr/bin/sleep", "300"]), machine.folder / "entered")
    members = machine.members()
    init = machine.init()
    assert init is not None and len(members) >= 3
    process = init if victim == "init" else identify(parent_of(init.process_id))
    assert process is not None
    end([process], grace_seconds=0)
    for member in members:
        assert wait_until_ended(member, patience(5))
    left = identify(entered)
    assert left is None or wait_until_ended(left, patience(5))
    assert not machine.is_running()
    machine.start()
    assert machine.is_running() and machine.daemon("napper") is None
    machine.stop()
    assert_nothing_is_left(machine)


def test_a_program_inside_ends_with_the_process_that_waits_for_it(machine: Machine) -> None:
    machine.start()
    before = len(machine.members())
    number = start_in_background(machine.command(["/usr/bin/sleep", "300"]), machine.folder / "entered")
    wait_until(lambda: "sleep" in {command_name(member.process_id) for member in machine.members()})
    process = identify(number)
    assert process is not None
    end([process], grace_seconds=0)
    wait_until(lambda: len(machine.members()) == before)


CODE = """
import sys, time
from pathlib import Path
from lab.namespace import Machine
machine = Machine(Path(sys.argv[1]))
machine.start()
machine.start_daemon("napper", ["/usr/bin/sleep", "300"])
if sys.argv[2:] == ["release"]:
    machine.release()
"""
ENVIRONMENT = {"PYTHONPATH": f"{CHECKOUT}:{CHECKOUT / 'src'}", "PATH": os.environ["PATH"]}


def test_a_machine_ends_with_its_starter_unless_it_is_released(machine: Machine) -> None:
    start = [sys.executable, "-c", CODE, str(machine.folder)]
    run_checked(start, deadline_seconds=patience(20), environment=ENVIRONMENT)
    wait_until(lambda: not processes_naming(str(machine.folder)))
    run_checked([*start, "release"], deadline_seconds=patience(20), environment=ENVIRONMENT)
    time.sleep(0.3)
    assert machine.daemon("napper") is not None
    assert "ended sleep" in machine.stop()


@pytest.mark.slow
def test_a_starter_that_is_killed_leaves_no_process(machine: Machine, tmp_path: Path) -> None:
    """Killed at several moments, from before the supervisor starts until the machine is complete."""
    for milliseconds in range(40, 300, 20):
        number = start_in_background(
            [sys.executable, "-c", CODE + "time.sleep(60)", str(machine.folder)],
            tmp_path / "log",
            ENVIRONMENT,
        )
        starter = identify(number)
        time.sleep(milliseconds / 1000)
        if starter is not None:
            end([starter], grace_seconds=0)
        wait_until(lambda: not processes_naming(str(machine.folder)))
        assert not machine.is_running()


def test_a_record_of_another_process_is_not_believed(machine: Machine, tmp_path: Path) -> None:
    """After a reboot the number of the init process may be another process's."""
    machine.init_record.write_text(f"{os.getpid()} 1\n")
    assert not machine.is_running()
    with pytest.raises(StateError, match="does not run"):
        machine.command(["/usr/bin/true"])
    machine.start()
    assert machine.is_running()


def test_a_state_folder_below_what_the_machine_covers_is_refused() -> None:
    with pytest.raises(StateError, match="/opt/rocks"):
        Machine(Path("/opt/rocks/checkout/.state/demo")).start()
    assert not Path("/opt/rocks/checkout").exists()


def test_a_daemon_that_ends_at_once_leaves_its_last_output(machine: Machine) -> None:
    machine.start()
    with pytest.raises(ToolError, match="sshd"):
        sshd.start(machine, "", port=-1)
    assert machine.daemon("sshd") is None


def test_an_ssh_session_runs_inside_the_machine(machine: Machine, tmp_path: Path) -> None:
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
    machine.in_network(lambda: run_checked([*way, "touch /etc/rocks/by-ssh"], deadline_seconds=20))
    assert (machine.outside("/etc/rocks") / "by-ssh").exists()
    sshd.stop(machine)
    assert machine.in_network(lambda: run([*way, "true"], deadline_seconds=20)).exit_status == 255
