"""`rocks dump`: all of the database as commands, each part after what it needs."""

from __future__ import annotations

from tests.system.commands.conftest import Site, rocks, silent_hosts, site, vm_site
from tests.system.imgstorage.image_site import NAS

__all__ = ["rocks", "silent_hosts", "site", "vm_site"]

PARTS = (
    ("network",),
    ("appliance",),
    ("appliance", "attr"),
    ("attr",),
    ("os", "attr"),
    ("host",),
    ("host", "interface"),
    ("host", "vm"),
    ("host", "vm", "nas"),
    ("host", "attr"),
    ("host", "boot"),
)


def test_a_dump_is_all_parts_in_order(vm_site: Site) -> None:
    """With the NASes of virtual machines' images, after the machines themselves."""
    vm_site.done("add", "host", NAS, "membership=NAS Appliance", "rack=0", "rank=0")
    vm_site.done("add", "host", "vm", "vmc-0-0", "compute", "name=web")
    vm_site.done("set", "host", "vm", "web", "disk=file:/a/web.vda,vda,virtio", "disksize=1")
    vm_site.done("set", "host", "vm", "nas", "web", f"nas={NAS}", "zpool=tank")
    vm_site.done("set", "host", "attr", "web", "img_persistent", "no")
    parts = [vm_site.done("dump", *arguments) for arguments in PARTS]
    dumped = vm_site.done("dump")
    assert dumped == "".join(parts)
    lines = [line.partition(" ")[2] for line in dumped.splitlines()]
    assert f"set host vm nas web nas={NAS} zpool=tank" in lines
    assert next(n for n, line in enumerate(lines) if line.startswith("set host vm web ")) < lines.index(
        f"set host vm nas web nas={NAS} zpool=tank"
    )


def test_a_dump_of_images_makes_them_again(vm_site: Site) -> None:
    """What a shell reads of it: the machine, and where its image is."""
    vm_site.done("add", "host", NAS, "membership=NAS Appliance", "rack=0", "rank=0")
    vm_site.done("add", "host", "vm", "vmc-0-0", "compute", "name=web")
    vm_site.done("set", "host", "vm", "nas", "web", f"nas={NAS}", "zpool=tank")
    before = vm_site.done("list", "host", "vm", "nas", "web")
    dumped = vm_site.done("dump")
    vm_site.done("remove", "host", "vm", "nas", "web")
    assert vm_site.done("list", "host", "vm", "nas", "web") != before
    (line,) = [line for line in dumped.splitlines() if "set host vm nas" in line]
    vm_site.done(*line.split()[1:])
    assert vm_site.done("list", "host", "vm", "nas", "web") == before
