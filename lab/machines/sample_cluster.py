"""A virtual cluster of two computes, one on each host, whose disks hold the guest that counts; for demo and tests."""

from __future__ import annotations

from lab.machines.frontend import IMAGE_FOLDER, Frontend, put_counting_guest
from lab.machines.lab import Lab, together
from lab.machines.machine import LabMachine
from lab.machines.roster import Role

CLUSTER = "vc1"
GUESTS = {"vm-vc1-0": "vmh1", "vm-vc1-1": "vmh2"}
"""Computes of the cluster, and the hosts they are placed on."""

VLAN = 100
_ADDRESS = "203.0.113.9"


def disk_of(guest: str) -> str:
    """Where the guest's disk lies on its host."""
    return f"{IMAGE_FOLDER}/{guest}.vda"


def set_up(lab: Lab, frontend: Frontend) -> None:
    """Database, hosts, keys, cluster and disks, from nothing; no guest is started."""
    hosts = [machine for machine in lab.machines.values() if machine.description.role is Role.HOST]
    frontend.begin_anew()
    frontend.describe_site([machine.description for machine in lab.machines.values()])
    frontend.share_keys([machine.description for machine in hosts])
    sizes = ("mem-per-compute=64", "disk-per-compute=1", "disk-per-frontend=1")
    places = (
        "fe-container=vmh1",
        f"container-hosts={' '.join(GUESTS.values())}",
        "subnet=trunk",
        f"vlan={VLAN}",
    )
    names = (f"fe-name={CLUSTER}", "cluster-naming=yes")
    frontend.done("add", "cluster", _ADDRESS, str(len(GUESTS)), *names, *sizes, *places)

    def put_disks(machine: LabMachine) -> None:
        for guest, host in GUESTS.items():
            if host == machine.name:
                put_counting_guest(machine, lab.counting_guest, disk_of(guest))
        # A site's hosts have had their keys for longer than a moment: they are on the disk, and survive a crash.
        machine.run(["sync"])

    together(put_disks, hosts)
    for guest, host in GUESTS.items():
        frontend.done("set", "host", "image", host, disk_of(guest), f"vm={guest}")
