"""Disks of a site: no machine gets another's, none comes from elsewhere on the host, and nobody's can be settled."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rocks.core.process import start_with_pipes
from rocks.machine.host.files.owners import ATTRIBUTE
from tests.system.vms.site import IMAGES, ThreeMachines

SECRET = b"the former owner's data"


def image(site: ThreeMachines, name: str, host: str = "vmh1") -> Path:
    """The first disk of a machine."""
    return site.machines[host].outside(IMAGES) / f"{name}.vda"


def rows(site: ThreeMachines, host: str = "vmh1") -> list[list[str]]:
    """(file, machine) of each image of a host."""
    listed = site.done(f"list host image {host} output-header=no output-col=file,vm")
    return sorted(line.split()[-2:] for line in listed.splitlines())


@pytest.fixture
def cluster(site: ThreeMachines) -> Iterator[Callable[[], None]]:
    """Adds a cluster whose frontend `fe` is on vmh1 and starts from its disk; removed afterwards."""

    def add() -> None:
        site.done(
            "add cluster 203.0.113.77 0 fe-name=fe container-hosts=vmh1 fe-container=vmh1 disk-per-frontend=1"
        )
        site.done("set host vm fe mem=64")
        site.done("set host boot fe action=os")

    site.done("set host attr vmh1 vlan_transport local")
    yield add
    site.rocks("remove cluster fe")
    site.done("remove host attr vmh1 vlan_transport")


def test_a_cluster_of_the_same_name_never_gets_the_disks_of_a_removed_one(
    site: ThreeMachines, cluster: Callable[[], None]
) -> None:
    """The error names the commands; after one of them, the new machine starts with a disk of its own."""
    cluster()
    site.done("start host vm fe")
    former = os.getxattr(image(site, "fe"), ATTRIBUTE).decode()
    assert site.sql("SELECT UUID FROM vm_nodes") == [[former]]
    site.done("stop host vm fe")
    image(site, "fe").write_bytes(SECRET)
    site.done("remove cluster fe")
    assert image(site, "fe").read_bytes() == SECRET
    assert rows(site) == [[f"{IMAGES}/fe.vda", "removed"]]
    cluster()
    error = site.refused("start host vm fe")
    assert f"the disk {IMAGES}/fe.vda that is there belongs to another machine ({former})" in error
    give = f"rocks set host image vmh1 '{IMAGES}/fe.vda' vm=fe"
    assert 0 < error.index(give) < error.index(f"rocks remove host image vmh1 '{IMAGES}/fe.vda'")
    assert site.running("fe") == [] and image(site, "fe").read_bytes() == SECRET
    site.done(f"remove host image vmh1 {IMAGES}/fe.vda")
    assert not image(site, "fe").exists()
    site.done("start host vm fe")
    assert SECRET not in image(site, "fe").open("rb").read(4096)
    site.done("stop host vm fe")
    assert "is the disk of fe" in site.refused(f"remove host image vmh1 {IMAGES}/fe.vda")
    site.done("remove cluster fe disks=remove")
    assert rows(site) == []


def test_the_guest_has_the_uuid_of_its_machine(site: ThreeMachines) -> None:
    """At every start the same, in libvirt and so in the guest's firmware; two machines have two."""
    for name in ("one", "two"):
        site.add_vm(name, "vmh1")
    site.done("start host vm one two")
    uuids = dict(site.sql("SELECT n.Name, v.UUID FROM vm_nodes v JOIN nodes n ON n.ID = v.Node"))
    assert len(set(uuids.values())) == 2
    for name, uuid in uuids.items():
        assert site.virsh("vmh1", "domuuid", name).text.strip() == uuid
    site.done("stop host vm one")
    site.done("start host vm one")
    assert site.virsh("vmh1", "domuuid", "one").text.strip() == uuids["one"]


@pytest.mark.parametrize(
    ("disk", "fault"),
    [
        (f"file:{IMAGES}/link.vda,vda,virtio", "is a symbolic link"),
        (f"qcow2:{IMAGES}/backed.vda,vda,virtio", "refers to another file"),
    ],
)
def test_files_of_the_host_are_no_disks(site: ThreeMachines, disk: str, fault: str) -> None:
    """Also for a machine that adopts what is there."""
    folder = site.machines["vmh1"].outside(IMAGES)
    folder.mkdir(exist_ok=True, parents=True)
    (folder / "link.vda").symlink_to("/etc/shadow")
    (folder / "victim.vda").write_bytes(bytes(1024**2))
    create = ["/usr/bin/qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b"]
    site.machines["vmh1"].run_checked([*create, f"{IMAGES}/victim.vda", f"{IMAGES}/backed.vda"], 20)
    site.add_vm("greedy", "vmh1", f"disk={disk}")
    site.sql("UPDATE vm_nodes SET Adopts = TRUE")
    try:
        assert fault in site.refused("start host vm greedy")
        assert site.running("greedy") == []
    finally:
        for name in ("link.vda", "victim.vda", "backed.vda"):
            (folder / name).unlink()


def test_only_unused_images_are_removed(site: ThreeMachines) -> None:
    """Not those of machines, running or not; not what a process has open; nothing outside of the directories."""
    site.add_vm("owner", "vmh1")
    site.done("start host vm owner")
    assert "is the disk of owner" in site.refused(f"remove host image vmh1 {IMAGES}/owner.vda")
    stray = image(site, "stray")
    stray.write_bytes(SECRET)
    path = f"{IMAGES}/stray.vda"
    reader = start_with_pipes(
        site.machines["vmh1"].command(["/usr/bin/sh", "-c", f"exec <{path}; echo; sleep 60"])
    )
    assert reader.stdout is not None and reader.stdout.readline() == b"\n"
    try:
        assert "in use by process" in site.refused(f"remove host image vmh1 {IMAGES}/stray.vda")
    finally:
        reader.kill()
        reader.communicate()
    assert "is not a disk image on vmh1" in site.refused("remove host image vmh1 /etc/shadow")
    assert "must be discard or overwrite" in site.refused("set host attr vmh1 vm_image_erase shred")
    site.done("set host attr vmh1 vm_image_erase overwrite")
    site.done(f"remove host image vmh1 {IMAGES}/stray.vda")
    site.done("remove host attr vmh1 vm_image_erase")
    assert not stray.exists() and image(site, "owner").exists()
    assert 'disks "all" must be keep or remove' in site.refused("remove host vm owner disks=all")
    site.done("remove host vm owner disks=remove")
    assert rows(site) == []
