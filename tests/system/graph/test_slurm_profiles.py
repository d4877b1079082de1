"""Profiles of a site's own Slurm, run by bash: what waits for the key of munge, and what starts with it."""

import os
import socket
from pathlib import Path

import pytest

from rocks.install.graph_files import Library
from rocks.install.host_profiles import write_profile
from tests.golden.profile.cases import CASES
from tests.profiles import written_files
from tests.system.graph.machine import Machine

KEY = "0123456789abcdef" * 8


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine with the packages of Slurm, whose programs do nothing."""
    if os.geteuid() != 0:
        pytest.skip("a profile is run in a mount namespace of its own, which needs root")
    made = Machine(tmp_path)
    for program in ("opt/rocks/libexec/rocks-host-free", "opt/rocks/bin/rocks", "usr/local/sbin/mariadb"):
        path = made.path(program)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'#!/bin/bash\necho "$*" >>"$STUBS/{path.name}"\n')
        path.chmod(0o755)
    made.path("/etc/munge").mkdir(mode=0o700)
    with (made.folder / "etc/passwd").open(
        "a"
    ) as file:  # of those that are there already, the first line counts
        file.write("munge:x:993:65534::/:/bin/false\nslurm:x:64030:65534::/:/bin/false\n")
    return made


def profile(name: str) -> str:
    return write_profile(CASES[name], Library()).replace("/var/opt/rocks/mysql/mysql.sock", "/run/mysql.sock")


def give_key(machine: Machine, key: str) -> None:
    path = machine.path("/etc/rocks/sec_attr/munge_key")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(key)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "host", "units"),
    [
        ("frontend_with_slurm", "head", ("munge.service", "slurmdbd.service", "slurmctld.service")),
        ("vm_host_of_distribution_with_slurm", "vmc-0-0", ("munge.service", "slurmd.service")),
    ],
)
def test_a_host_gets_the_key_and_then_starts(
    machine: Machine, name: str, host: str, units: tuple[str, ...]
) -> None:
    text = profile(name)
    with socket.socket(socket.AF_UNIX) as database:
        database.bind(str(machine.path("/run/mysql.sock")))
        first = machine.done(text)
        assert f"rocks sync host sec_attr {host} on the frontend" in first
        enabled = machine.folder / "stubs/units"
        assert not any((enabled / f"{unit}.enabled").exists() for unit in units)

        give_key(machine, KEY)
        second = machine.done(text)
        key = machine.path("/etc/munge/munge.key")
        assert key.read_text() == KEY
        assert key.stat().st_mode & 0o777 == 0o400 and key.stat().st_uid != 0, "munged runs as another user"
        assert all((enabled / f"{unit}.enabled").exists() for unit in units), second
        assert "munge_key" not in second.replace("sec_attr.d/munge_key", "")
        if name.startswith("frontend"):
            assert machine.calls("rocks") == ["sync slurm"]
            assert "GRANT ALL ON slurm_acct_db.* TO slurm@localhost" in machine.calls("mariadb")[-1]
        assert "profile ends: no changes" in machine.done(text)

        give_key(machine, "short")
        refused = machine.run(text)
        assert refused.exit_status != 0 and "less than 32 characters" in refused.error_text
        assert key.read_text() == KEY


def test_what_munges_user_puts_in_the_place_of_the_key_is_replaced_and_a_restart_that_is_missing_is_repeated(
    machine: Machine,
) -> None:
    hook = machine.path("/etc/rocks/sec_attr.d/munge_key")
    hook.parent.mkdir(parents=True)
    hook.write_text(
        written_files(profile("vm_host_of_distribution_with_slurm"))["/etc/rocks/sec_attr.d/munge_key"]
    )
    hook.chmod(0o755)
    other = machine.path("/etc/other")
    other.write_text("root's")
    for name, target in (("munge.key.new", "/etc/other"), ("munge.key", "/etc/rocks")):
        machine.path(f"/etc/munge/{name}").symlink_to(target)
    give = f"echo {KEY} | /etc/rocks/sec_attr.d/munge_key"
    changed = "changed: /etc/munge/munge.key\n"
    assert machine.done(give).startswith(changed)
    assert other.read_text() == "root's" and other.stat().st_uid == 0
    key = machine.path("/etc/munge/munge.key")
    assert key.read_text() == f"{KEY}\n" and not key.is_symlink()
    assert machine.done(give) == ""

    os.utime(machine.folder / "stubs/units/munge.service.active", (0, 0))  # killed before the restart
    assert machine.done(give) == changed and machine.done(give) == ""
    assert machine.calls("systemctl").count("restart munge.service") == 2

    key.rename(key.with_name("moved"))
    key.symlink_to("moved")
    assert machine.done(give) == changed and not key.is_symlink(), "a link to the right key, too, is replaced"
    key.unlink()
    os.mkfifo(key)
    assert machine.done(give) == changed and key.is_file(), "a FIFO is not waited for"
    assert list(hook.parent.iterdir()) == [hook]
