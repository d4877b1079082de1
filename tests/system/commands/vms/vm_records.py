"""What the database has of a virtual machine, for tests of the commands that change it."""

import json
from typing import Any

from tests.system.commands.conftest import Site

FIRST_MAC = "76:77:6e:80:00:00"


def interfaces(site: Site, host: str) -> list[tuple[Any, ...]]:
    """(device, MAC, IP, name, network, VLAN) of a host's interfaces."""
    return site.rows(
        "SELECT i.Device, i.MAC, i.IP, i.Name, s.name, i.VlanID FROM networks i JOIN nodes n ON n.ID = i.Node"
        " LEFT JOIN subnets s ON s.ID = i.Subnet WHERE n.Name = %s ORDER BY i.ID",
        [host],
    )


def machine(site: Site, name: str) -> tuple[Any, ...]:
    """(membership, CPUs, rack, rank, run action, install action, boot, container, memory, slice, kind, cdrom)."""
    (row,) = site.rows(
        "SELECT m.Name, n.CPUs, n.Rack, n.Rank, n.RunAction, n.InstallAction, b.Action, p.Name, v.Mem, v.Slice,"
        " v.Virt_Type, v.cdrom_path FROM vm_nodes v JOIN nodes n ON n.ID = v.Node JOIN memberships m"
        " ON m.ID = n.Membership LEFT JOIN nodes p ON p.ID = v.PhysNode LEFT JOIN boot b ON b.Node = n.ID"
        " WHERE n.Name = %s",
        [name],
    )
    return row


def disks(site: Site, name: str) -> list[tuple[str, int]]:
    """(specification, size in GB) of a machine's disks, as listed."""
    (found,) = json.loads(site.done("list host vm", name, "showdisks=yes", "json=yes"))
    return [(row["disk"], row["disksize"]) for row in found["vm"] if row["disk"]]


ADD = ("add", "host", "vm")


SET = ("set", "host", "vm")
