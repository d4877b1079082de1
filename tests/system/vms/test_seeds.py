"""The seeds of a cluster from an image, with a real libvirt: its key is stable, and private to its frontend."""

import re
import shutil
from collections.abc import Iterator

import pytest

from tests.system.vms.site import IMAGES, ThreeMachines

LIBRARY = "/var/opt/rocks/library"
DISK = "/var/opt/rocks/small.img"
PRIVATE = b"-----BEGIN OPENSSH PRIVATE KEY-----"


@pytest.fixture
def cluster(site: ThreeMachines) -> Iterator[ThreeMachines]:
    """A site with the cluster `fe` of two, both on vmh1, whose disks are made from an image."""
    head = site.machines["head"]
    head.outside(DISK).write_bytes(b"boot".ljust(1_000_000, b"\0"))
    site.done(f"set attr image_library {LIBRARY}")
    site.done(f"add image small file={DISK}")
    site.done("set host attr vmh1 vlan_transport local")
    site.done(
        "add cluster 203.0.113.77 1 fe-name=fe cluster-naming=yes container-hosts=vmh1 fe-container=vmh1"
        " image=small disk-per-frontend=1 disk-per-compute=1"
    )
    for name in ("fe", "vm-fe-0"):
        site.done(f"set host vm {name} mem=64")
    yield site
    site.rocks("remove cluster fe disks=remove")
    site.done("remove host attr vmh1 vlan_transport")
    site.done("remove attr image_library")
    shutil.rmtree(head.outside(LIBRARY))
    head.outside(DISK).unlink()
    for machine in site.machines.values():
        shutil.rmtree(machine.outside(IMAGES) / "library", ignore_errors=True)


def seed(site: ThreeMachines, name: str) -> bytes:
    """The second disk of the machine."""
    return (site.machines["vmh1"].outside(IMAGES) / f"{name}.vda.seed").read_bytes()


def targets(site: ThreeMachines, name: str) -> dict[str, str]:
    """Path of each disk in the definition of the running machine → its target."""
    rows = [line.split() for line in site.virsh("vmh1", "domblklist", name).text.splitlines()]
    return {path: target for target, path in rows}


def public_key(content: bytes) -> bytes:
    """The cluster's public key in a seed."""
    found = re.search(rb"ssh-ed25519 [A-Za-z0-9+/]+ root@fe", content)
    return found[0]


def test_the_frontend_alone_has_the_private_key_and_starts_keep_it(cluster: ThreeMachines) -> None:
    cluster.done("start host vm vm-fe-0")
    compute = seed(cluster, "vm-fe-0")
    assert PRIVATE not in compute and b"id_ed25519" not in compute
    cluster.done("start host vm fe")
    assert PRIVATE in seed(cluster, "fe")
    assert public_key(seed(cluster, "fe")) == public_key(compute)
    text = cluster.sql("SELECT Value FROM sec_node_attributes WHERE Attr = 'vm_cluster_key'")
    assert len(text) == 1
    for line in ("dump", "list host attr fe"):
        assert text[0][0] not in cluster.done(line)
    cluster.done("stop cluster fe")
    cluster.done("start cluster fe")
    assert public_key(seed(cluster, "vm-fe-0")) == public_key(compute)
    cluster.sql("UPDATE sec_node_attributes SET Value = 'x' WHERE Attr = 'vm_cluster_key'")
    cluster.done("stop cluster fe")
    assert "rocks remove host sec_attr fe vm_cluster_key" in cluster.refused("start host vm vm-fe-0")
    cluster.done("remove host sec_attr fe vm_cluster_key")
    both = [cluster.begin(f"start host vm {name}") for name in ("fe", "vm-fe-0")]
    assert [started.end()[0] for started in both] == [0, 0]
    assert public_key(seed(cluster, "fe")) == public_key(seed(cluster, "vm-fe-0")) != public_key(compute)


def test_a_disk_that_is_added_while_the_guest_runs_keeps_its_name(cluster: ThreeMachines) -> None:
    """The disk for cloud-init is on another bus, so it takes none of the names vda, vdb, …"""
    cluster.done("start host vm vm-fe-0")
    path = f"{IMAGES}/vm-fe-0.vdb"
    added = cluster.rocks(f"add host vm disk vm-fe-0 disk=file:{path},vdb,virtio disksize=1")
    assert (added.exit_status, added.error_text) == (0, f"{path} is attached to vm-fe-0 as vdb")
    expected = {f"{IMAGES}/vm-fe-0.vda": "vda", path: "vdb", f"{IMAGES}/vm-fe-0.vda.seed": "sda"}
    assert targets(cluster, "vm-fe-0") == expected
    cluster.done("stop host vm vm-fe-0")
    cluster.done("start host vm vm-fe-0")
    assert targets(cluster, "vm-fe-0") == expected


def test_clones_have_disks_names_and_keys_of_their_own(cluster: ThreeMachines) -> None:
    """They start from the host's one copy of the image, are saved with their seeds, and leave nothing."""
    folder = cluster.machines["vmh1"].outside(IMAGES)
    cluster.done("clone cluster fe 203.0.113.80 count=2 name=class")
    clones = ("class-1", "class-2")
    cluster.done("start cluster class-1 class-2")
    for name in (*clones, "vm-class-1-0", "vm-class-2-0"):
        assert (folder / f"{name}.vda").read_bytes()[:4] == b"boot"
        assert f'"local-hostname": "{name}"'.encode() in seed(cluster, name)
    keys = {
        re.findall(rb"ssh-ed25519 [A-Za-z0-9+/]+ root@class", seed(cluster, f"vm-{name}-0"))[0]
        for name in clones
    }
    assert len(keys) == 2 and len(list((folder / "library").glob("*.img"))) == 1
    cluster.done("save host vm class-1")
    cluster.done("restore host vm class-1")
    assert cluster.running("class-1") == ["vmh1"]
    cluster.done("remove cluster class-1 class-2 disks=remove")
    assert [path.name for path in folder.glob("*class*")] == []
