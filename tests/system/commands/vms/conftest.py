"""Machines, images and moves on the silent site of the specification's samples."""

import pytest

from rocks.leases import lease as vm_locks
from tests.system.commands.conftest import Site
from tests.system.commands.vms.moves import NEW, OLD
from tests.system.commands.vms.vm_records import ADD


@pytest.fixture
def samples(vm_site: Site) -> Site:
    """The machines of Rocks' sample outputs."""
    vm_site.done(*ADD, "vmc-0-0", "compute", "name=web-a", "num-macs=2")
    vm_site.done("add cluster 203.0.113.9 1 fe-name=fe-a cluster-naming=yes container-hosts=vmc-0-0")
    vm_site.change("UPDATE vm_nodes SET Slice = 0")
    return vm_site


@pytest.fixture
def moving(vm_site: Site) -> Site:
    """`web` was moving when its command was killed; no host answers."""
    vm_site.patch.setattr(vm_locks, "LOCK_WAIT_SECONDS", 0.0)
    vm_site.done("add host vm", OLD, "membership=Hosted VM", "name=web")
    vm_site.change(
        "INSERT INTO vm_leases (Name, Token, Host, State, Target) VALUES ('web', 7, %s, 'moving', %s)",
        [OLD, NEW],
    )
    return vm_site


@pytest.fixture
def images(vm_site: Site) -> Site:
    """The site with NAS nas-0-0 (pools tank and fast) and nas-0-1 (none), and three machines on vmc-0-0.

    web has two disks, db one, bare none.
    """
    for rank in (0, 1):
        vm_site.done("add host", f"nas-0-{rank}", "membership=NAS Appliance", "rack=0", f"rank={rank}")
    vm_site.done("set host attr nas-0-0 img_zpools 'tank, fast'")
    for name in ("web", "db", "bare"):
        vm_site.done("add host vm vmc-0-0 compute", f"name={name}")
    vm_site.done("set host vm web 'disk=file:/images/web.vda,vda,virtio file:/images/b,vdb,virtio'")
    vm_site.change(
        "DELETE d FROM vm_disks d JOIN vm_nodes v ON v.ID = d.Vm_Node JOIN nodes n ON n.ID = v.Node"
        " WHERE n.Name = 'bare'"
    )
    return vm_site


@pytest.fixture
def clusters(vm_site: Site) -> Site:
    """The clusters of Rocks' sample outputs."""
    vm_site.done("add host compute-0-0")
    vm_site.done("add cluster 203.0.113.9 2 fe-name=fe-a cluster-naming=yes")
    return vm_site
