"""`dry-run=yes`: commands of all kinds print what they would do, and nothing is changed, on real hosts."""

import hashlib
import stat
from pathlib import Path

import pytest

from tests.system.vms.site import HOSTS, IMAGES, ThreeMachines

_MOVING = ("opt/rocks", "var/opt/rocks/mysql", "var/log", "run/libvirt", "var/lib/libvirt/qemu", "run/lock")
"""Folders of programs, and those that daemons write while nothing is commanded."""


def state_of(site: ThreeMachines) -> dict[str, object]:
    """All tables, and of each machine its files, its domains and their states."""
    tables = [row[0] for row in site.sql("SHOW FULL TABLES WHERE Table_type = 'BASE TABLE'")]
    found: dict[str, object] = dict(site.sql(f"CHECKSUM TABLE {', '.join(tables)}"))
    for name, machine in site.machines.items():
        found[f"files of {name}"] = files_below(machine.folder / "root")
        found[f"domains of {name}"] = {
            domain: (site.virsh(name, "domstate", domain).text, site.virsh(name, "dumpxml", domain).text)
            for domain in site.domains(name)
        }
    return found


def files_below(root: Path) -> dict[str, tuple[int, str]]:
    """Path → (mode, digest of its content) of the regular files and links; of other files the mode alone."""
    found = {}
    for path in root.rglob("*"):
        place = str(path.relative_to(root))
        if place.startswith(_MOVING):
            continue
        try:
            status = path.lstat()
            small = stat.S_ISREG(status.st_mode) and status.st_size < 50_000_000
            digest = hashlib.sha256(path.read_bytes()).hexdigest() if small else str(status.st_size)
        except FileNotFoundError:
            continue  # a file of the moment of libvirt
        found[place] = (status.st_mode, "" if path.is_dir() else digest)
    return found


def tried(site: ThreeMachines, line: str, *steps: str) -> list[str]:
    """Run the command with dry-run=yes: it succeeds, prints these steps among its lines, and changes nothing."""
    before = state_of(site)
    ended = site.rocks(f"{line} dry-run=yes")
    assert (ended.exit_status, ended.error_text) == (0, ""), f"rocks {line}: {ended}"
    lines = ended.text.splitlines()
    assert [step for step in steps if step not in lines] == [], ended.text
    after = state_of(site)
    changed = {key: _difference(before[key], after[key]) for key in before if before[key] != after[key]}
    assert changed == {}, f"rocks {line}: {ended.text}"
    assert after == before
    return lines


def _difference(before: object, after: object) -> object:
    """The entries that differ, where there are entries."""
    if not (isinstance(before, dict) and isinstance(after, dict)):
        return after
    return {key for key in {*before, *after} if before.get(key) != after.get(key)}


@pytest.fixture
def machines(site: ThreeMachines) -> tuple[str, str]:
    """One machine that runs on vmh1, and one that is off, on vmh2."""
    runs, is_off = site.add_vm("runs", "vmh1"), site.add_vm("isoff", "vmh2")
    site.done(f"start host vm {runs}")
    return runs, is_off


@pytest.mark.slow
def test_starts_and_stops_are_printed_and_not_done(site: ThreeMachines, machines: tuple[str, str]) -> None:
    runs, is_off = machines
    lines = tried(
        site,
        f"start host vm {is_off}",
        f"vmh2: would make the disk {IMAGES}/isoff.vda (raw, 1 GB)",
        "vmh2: would start isoff",
    )
    assert lines[-1].startswith("cluster database: would "), "the lease"
    assert "vm_leases" in lines[-1]
    tried(site, f"stop host vm {runs} {is_off}", "vmh1: would power off runs")
    tried(site, f"stop host vm {runs} action=reboot", "vmh1: would request runs to restart")
    tried(site, f"pause host vm {runs}", "vmh1: would pause runs")
    tried(site, f"set host power {runs} action=off", "vmh1: would power off runs")
    assert site.running(runs) == ["vmh1"]
    assert site.running(is_off) == []


def test_other_changes_of_hosts_are_printed_and_not_done(site: ThreeMachines) -> None:
    # facts are asked in a dry run, too, and a host stores what its kernel supports
    site.done("sync vm lease")
    tried(
        site,
        'run host vmh1 vmh2 command="touch /var/lib/rocks/touched"',
        "vmh1: would run touch /var/lib/rocks/touched",
    )
    tried(site, "sync host vlan vmh1")
    tried(site, "sync users vmh1 vmh2")
    tried(site, "sync dns vmh1", "vmh1: would change /etc/hosts")
    tried(site, "sync host firewall vmh1")
    tried(site, "sync config")
    tried(site, "sync vm lease")
    tried(site, "set host boot vmh1 action=os")
    tried(
        site,
        'iterate host vmh1 command="touch /var/lib/rocks/%"',
        "this machine: would run touch /var/lib/rocks/vmh1",
    )
    tried(site, "add cluster 203.0.113.9 2 fe-name=dry fe-container=vmh1 container-hosts=vmh2")


def test_the_same_command_at_once_in_real_and_dry(site: ThreeMachines) -> None:
    names = [site.add_vm(f"both{number}", host) for number, host in enumerate(HOSTS)]
    line = f"start host vm {' '.join(names)}"
    tries = [site.begin(f"{line} dry-run=yes") for _ in range(3)]
    site.done(line)
    for one in tries:
        status, error = one.end()
        assert "Traceback" not in error
        assert status in (0, 1), (
            error
        )  # before the real one it would start; after it, the machines run already
    assert [site.running(name) for name in names] == [["vmh1"], ["vmh2"]]
    assert [site.lease(name)[1] for name in names] == ["running", "running"]


def test_a_dry_run_that_is_killed_leaves_nothing(site: ThreeMachines) -> None:
    vm = site.add_vm("killed", "vmh1")
    before = state_of(site)
    for _ in range(3):
        site.begin(f"start host vm {vm} dry-run=yes").kill()
    assert state_of(site) == before
    site.done(f"start host vm {vm}")
    assert site.running(vm) == ["vmh1"]
