"""What installers leave in the installed system, executed by the shells that are there."""

import os
from pathlib import Path

import pytest

from rocks.install.graph.kickstart import kickstart_file
from rocks.install.graph.preseed import preseed_file
from rocks.install.graph.profile import Profile
from rocks.install.graph.shell import shell_script
from rocks.install.graph.tags import read_node
from rocks.install.graph_files import Library, first_boot_files, shell_functions
from tests.system.graph.machine import Machine
from tests.unit.install.graph.hosts import context
from tests.unit.install.graph.test_installed_first_boot import Installed

BODY = (
    '<post><file name="/etc/motd" perms="0600">it\'s "$HOME" \\ %end\n%end\nROCKS-END-1\n</file>'
    '<copy src="/etc/hostname" dst="/etc/copied"/></post>'
)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine on which nothing has been done."""
    if os.geteuid() != 0:
        pytest.skip("the commands are run in a mount namespace of their own, which needs root")
    found = Machine(tmp_path)
    chroot = found.path("/usr/local/sbin/chroot")
    chroot.write_text('#!/bin/sh\nshift\nexec "$@"\n')
    chroot.chmod(0o755)
    return found


def profile() -> Profile:
    data = f"<kickstart>{BODY}</kickstart>".encode()
    return Profile("h1", (read_node("n", "n.xml", data, context(), Library()),))


def kickstart_commands() -> str:
    script = shell_script(profile(), shell_functions(), "rpm")
    text = kickstart_file(profile(), shell_functions(), script, first_boot_files())
    return text.partition("\n%post ")[2].partition("\n")[2].partition("\n%end\n")[0] + "\n"


def preseed_commands() -> str:
    text = preseed_file(profile(), shell_script(profile(), shell_functions(), "deb"), first_boot_files())
    (line,) = [line for line in text.splitlines() if "late_command" in line]
    return line.removeprefix("d-i preseed/late_command string ") + "\n"


@pytest.mark.parametrize("commands", [kickstart_commands, preseed_commands], ids=["kickstart", "preseed"])
def test_the_installed_system_runs_the_profile_at_its_first_boot(machine: Machine, commands) -> None:  # type: ignore[no-untyped-def]
    text = commands()
    machine.done(text)
    machine.done(text)
    script = machine.path("/var/lib/rocks/first-boot/profile")
    assert (script.stat().st_mode & 0o777, script.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    unit = machine.path("/etc/systemd/system/multi-user.target.wants/rocks-first-boot.service")
    assert unit.readlink() == Path("../rocks-first-boot.service")

    machine.done("systemctl() { :; }; bash /var/lib/rocks/first-boot/profile")
    motd = machine.path("/etc/motd")
    assert motd.read_text() == 'it\'s "$HOME" \\ %end\n%end\nROCKS-END-1\n'
    assert machine.path("/etc/copied").read_bytes() == Path("/etc/hostname").read_bytes()
    assert "no changes" in machine.done("bash /var/lib/rocks/first-boot/profile")


def test_a_profile_that_fills_the_disk_is_reported(tmp_path: Path) -> None:
    """Its messages fit nowhere."""
    if os.geteuid() != 0:
        pytest.skip("the disk is a mount in a namespace of its own, which needs root")
    installed, disk = Installed(tmp_path), tmp_path / "disk"
    disk.mkdir()
    installed.state, installed.log = disk / "state", disk / "log"
    for name in ("profile", "progress"):
        (tmp_path / name).write_text(f"https://head/{name}")
    (tmp_path / "given").write_text(
        f"cat /dev/zero >{disk}/more\nhead -c 50000 /dev/zero | tr '\\0' x\n"
        "exit 1\nrocks_profile </dev/null\n"
    )
    mounting = f'mount -t tmpfs -o size=128k none {disk} && exec sh -c "$0"'
    failed = installed.boot("unshare", "--mount", "--propagation=private", "sh", "-c", mounting)
    assert failed.exit_status == 1 and "No space left on device" in failed.error_text
    last = installed.reports.read_text().splitlines()[-1]
    assert last.startswith("first-boot-failed the profile failed")
