"""A machine of the lab with a Slurm of any number of hosts; what is measured runs inside, as a program of its own."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from bench.site import CHECKOUT, BenchSite
from bench.table import Row
from lab import agent_archive, database, libvirtd
from lab.namespace import Machine
from lab.slurm.daemons import Slurm

ACCOUNT, PARTITION = "bench", "virt"
USER, OTHERS = "root", "nobody"
"""The service's user, and that of batch jobs."""

FIRST_HOSTS = tuple(f"vm-container-1-{number}" for number in range(4))
"""Named like those of the simulator of Nucleus."""

HOST_COUNT = 1000
_ADDRESS = "192.0.2.1"
_SECONDS = 120.0
_MEASURE_SECONDS = 3600.0

_AS_AT_SITES = "SchedulerParameters=nohold_on_prolog_fail,batch_sched_delay=0\n"
"""Slurm's own times, in the place of the short ones of the demo."""

_LARGE = f"""{_AS_AT_SITES}Prolog=/bin/true
Epilog=/bin/true
HealthCheckInterval=0
MessageTimeout=60
"""
"""A thousand hosts on one machine: what they have to do themselves would be its work."""


def measure_starts(site: BenchSite) -> list[Row]:
    """R26 and R28, with the hooks of the host package."""
    return _measured(site, FIRST_HOSTS, _AS_AT_SITES, "bench.computesets.starts")


def measure_begins(site: BenchSite) -> list[Row]:
    """R33, with the same hooks."""
    return _measured(site, FIRST_HOSTS, _AS_AT_SITES, "bench.computesets.begins")


def measure_rounds(site: BenchSite) -> list[Row]:
    """R27, and the invariants of many sets among batch jobs."""
    hosts = tuple(f"compute-{number // 40}-{number % 40}" for number in range(HOST_COUNT))
    return _measured(site, hosts, _LARGE, "bench.computesets.rounds")


def _measured(site: BenchSite, hosts: Sequence[str], lines: str, module: str) -> list[Row]:
    with _machine(site, hosts, lines) as machine:
        path = f"PYTHONPATH={CHECKOUT}:{CHECKOUT / 'src'}"
        program = ["/usr/bin/env", path, sys.executable, "-m", module, str(machine.folder)]
        text = machine.run_checked(program, _MEASURE_SECONDS).text
    return [Row(*one) for one in json.loads(text.splitlines()[-1])]


@contextmanager
def _machine(site: BenchSite, hosts: Sequence[str], lines: str) -> Iterator[Machine]:
    machine = Machine(site.folder / "slurm")
    machine.folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    try:
        machine.start()
        for arguments in (
            ("link", "set", "lo", "up"),
            ("link", "add", "slurm0", "type", "bridge"),
            ("address", "add", f"{_ADDRESS}/24", "dev", "slurm0"),
            ("link", "set", "slurm0", "up"),
        ):
            machine.run_checked(["/usr/sbin/ip", *arguments], _SECONDS)
        agent_archive.install(machine.outside("/opt/rocks"))
        database.start(machine)
        libvirtd.start(machine, kvm_works=False)
        machine.outside("/etc/rocks/host-free.conf").write_text(f"user = {USER}\n", "ascii")
        hook = CHECKOUT / "packaging/files/rocks-host-free"
        Slurm(machine, hosts, _ADDRESS, hook, lines).start(ACCOUNT, f"{USER},{OTHERS}")
        yield machine
    finally:
        machine.stop()
        shutil.rmtree(machine.folder, ignore_errors=True)
