"""R9: a machine on each of the real hosts is started by `rocks`, and by Ansible with its collection for libvirt."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from bench import far_hosts, peers
from bench.site import ROCKS, SSH_PORT, BenchSite
from bench.table import Row, not_measured, without_goal
from bench.timing import in_turns, run_seconds, typical
from lab import libvirtd
from rocks.core.errors import RocksError, ToolError
from rocks.core.process import run_checked

ROUNDS = 3
WHAT = "one start on each of 4 hosts: `rocks start host vm` / `ansible-playbook`, community.libvirt.virt"
_VIRSH = ("/usr/bin/virsh", "--quiet", "--connect", "qemu:///system")
_SECONDS = 120.0


def measure(site: BenchSite, guests: Sequence[str]) -> Row:
    """Both have the connections and the domains of an earlier run. The far hosts must be up."""
    environment = {
        **os.environ,
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_HOME": str(site.folder / "ansible"),
        "ANSIBLE_PIPELINING": "true",
    }

    def by_rocks() -> float:
        return run_seconds([ROCKS, "start", "host", "vm", *guests], site.environment())

    def by_ansible() -> float:
        for host, guest in zip(site.hosts, guests, strict=True):
            host.machine.run_checked([*_VIRSH, "destroy", guest], _SECONDS)
        seconds = run_seconds(command, environment)
        for host, guest in zip(site.hosts, guests, strict=True):
            if not libvirtd.is_guest(host.machine, guest):
                raise ToolError(f"{guest} does not run after {command[0]}")
        site.rocks("stop", "host", "vm", *guests)
        return seconds

    try:
        programs = peers.from_pypi("bench-ansible", "ansible-community", "ansible", "lxml")
        command = write_playbook(site, guests, programs)
        version = run_checked(
            [str(programs / "ansible-community"), "--version"], deadline_seconds=_SECONDS
        ).text
        in_turns([by_rocks, by_ansible], 1)
        ours, theirs = in_turns([by_rocks, by_ansible], ROUNDS)
    except RocksError as error:
        return not_measured("R9", WHAT, str(error))
    return row(typical(ours), typical(theirs), version.split()[-1])


def row(ours: float, theirs: float, version: str) -> Row:
    """The row, of the seconds of both commands and the version of Ansible."""
    how = (
        f"{ours:.2f} s / {theirs:.2f} s, medians of {ROUNDS}, in turns, {far_hosts.ROUND_TRIP_MS} ms round trip; "
        f"domains are defined, connections are of an earlier run; Ansible {version} with pipelining, without facts"
    )
    return without_goal("R9", WHAT, f"{ours / theirs:.2f}", how)


def write_playbook(site: BenchSite, guests: Sequence[str], programs: Path) -> list[str]:
    """`ansible-playbook` with inventory and playbook, which are written as JSON: YAML, too."""
    folder = site.folder / "ansible"
    folder.mkdir(exist_ok=True)
    (packages,) = programs.parent.glob("lib/python3*/site-packages")  # the hosts lack lxml
    hosts = {
        far_hosts.name_of(number): {
            "ansible_host": site.host_address(number),
            "ansible_port": SSH_PORT,
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(site.public_key.with_suffix("")),
            "ansible_ssh_common_args": f"-o UserKnownHostsFile={site.known_hosts} -o HostKeyAlias="
            + far_hosts.name_of(number),
            "ansible_python_interpreter": "/usr/bin/python3",
            "guest": guest,
        }
        for number, guest in enumerate(guests, start=1)
    }
    task = {"community.libvirt.virt": {"name": "{{ guest }}", "state": "running"}}
    play = {
        "hosts": "all",
        "gather_facts": False,
        "environment": {"PYTHONPATH": str(packages)},
        "tasks": [task],
    }
    inventory, playbook = folder / "inventory.yml", folder / "playbook.yml"
    inventory.write_text(json.dumps({"all": {"hosts": hosts}}), encoding="utf-8")
    playbook.write_text(json.dumps([play]), encoding="utf-8")
    return [str(programs / "ansible-playbook"), "--inventory", str(inventory), str(playbook)]
