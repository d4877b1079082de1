"""NAS and pool of the disks of virtual machines."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from rocks.leases import lease as vm_locks
from tests.command_trees import write_hook
from tests.system.commands.conftest import Site

SET, LIST = ("set", "host", "vm", "nas"), ("list", "host", "vm", "nas")
DUMP, REMOVE = ("dump", "host", "vm", "nas"), ("remove", "host", "vm", "nas")


def locations(site: Site) -> list[tuple[Any, ...]]:
    """(machine, device of the disk, NAS, pool) of every row."""
    return site.rows(
        "SELECT n.Name, d.Device, s.nas_name, s.zpool_name FROM img_nas_server s JOIN vm_disks d"
        " ON d.ID = s.vm_disk_id JOIN vm_nodes v ON v.ID = d.Vm_Node JOIN nodes n ON n.ID = v.Node ORDER BY n.ID, d.ID"
    )


def test_the_first_disk_unless_a_number_is_given(images: Site) -> None:
    assert images.done(*SET, "web", "db", "nas=nas-0-0", "zpool=tank") == ""
    images.done(*SET, "WEB", "nas=NAS-0-1", "zpool=slow", "index=1")
    assert locations(images) == [
        ("web", "vda", "nas-0-0", "tank"),
        ("web", "vdb", "nas-0-1", "slow"),
        ("db", "vda", "nas-0-0", "tank"),
    ]
    for pool in ("fast", "fast"):
        images.done(*SET, "web", "nas=nas-0-0", f"zpool={pool}")
    assert locations(images)[0] == ("web", "vda", "nas-0-0", "fast")
    assert images.database.rows("SELECT COUNT(*) FROM img_nas_server") == [(3,)]


@pytest.mark.slow
@pytest.mark.parametrize("word", ["none", "None", "NONE"])
def test_none_empties_both_names(images: Site, word: str) -> None:
    images.done(*SET, "web", "nas=nas-0-0", "zpool=tank")
    images.done(*SET, "web", "nas=nas-0-1", "zpool=tank", "index=1")
    images.done(*SET, "web", f"nas={word}")
    assert locations(images) == [("web", "vda", "", ""), ("web", "vdb", "nas-0-1", "tank")]
    images.done(*SET, "web", f"nas={word}", "zpool=ignored", "index=1")
    assert locations(images) == [("web", "vda", "", ""), ("web", "vdb", "", "")]


@pytest.mark.slow
def test_without_a_pool_every_one_of_the_attribute_may_result(images: Site) -> None:
    found: Counter[str] = Counter()
    for _ in range(24):
        images.done(*SET, "web", "db", "nas=nas-0-0")
        found.update(pool for *_, pool in locations(images))
        images.done(*REMOVE, "web", "db")
    assert set(found) == {"tank", "fast"}, "by chance once in 10^14 runs"


def test_a_disk_on_the_nas_remains_in_its_pool_when_it_is_set_again(images: Site) -> None:
    images.done("set host attr nas-0-0 img_zpools elsewhere")
    images.done(*SET, "web", "nas=nas-0-0", "zpool=elsewhere")
    images.done("set host attr nas-0-0 img_zpools tank")
    images.done(*SET, "web", "nas=nas-0-0", "zpool=elsewhere")
    for _ in range(5):
        images.done(*SET, "web", "nas=nas-0-0")
    assert locations(images) == [("web", "vda", "nas-0-0", "elsewhere")]


def test_a_pool_that_the_nas_does_not_have_for_images_is_a_warning(images: Site, tmp_path: Path) -> None:
    """With the pools that it has. A dump of a site whose img_zpools changed loads as it is."""
    ended = images.rocks(*SET, "web", "nas=nas-0-0", "zpool=nope")
    assert (ended.status, ended.err) == (
        0,
        "Warning: nas-0-0 has no pool nope for images, but tank, fast (its attribute img_zpools): set one of these, "
        "or, if nope exists there, run rocks set host attr nas-0-0 img_zpools tank,fast,nope\n",
    )
    (tmp_path / "dump").write_text(images.done(*DUMP, "web"))
    images.done(*REMOVE, "web")
    assert images.rocks("load dump", str(tmp_path / "dump")).status == 0
    assert locations(images) == [("web", "vda", "nas-0-0", "nope")]
    for texts in (("nas=nas-0-0", "zpool=nope"), ("nas=nas-0-1", "zpool=nope")):  # as before; no attribute
        ended = images.rocks(*SET, "web", *texts)
        assert (ended.status, ended.err) == (0, "")
    assert locations(images) == [("web", "vda", "nas-0-1", "nope")]


def test_any_host_with_the_attribute_is_a_nas(images: Site) -> None:
    images.done("set host attr vmc-0-1 img_storage_nas yes")
    images.done(*SET, "web", "nas=vmc-0-1", "zpool=tank")
    assert locations(images) == [("web", "vda", "vmc-0-1", "tank")]
    images.done("set host attr nas-0-0 img_storage_nas no")
    assert "its attribute img_storage_nas is not true" in images.refused(
        *SET, "web", "nas=nas-0-0", "zpool=tank"
    )


def test_set_host_vm_nas_refuses(images: Site) -> None:
    images.done(*SET, "web", "nas=nas-0-0", "zpool=tank", "index=1")
    for texts, message in [
        (("web",), "nas= is missing: give nas=HOST, or nas=none"),
        (("web", "nas-0-0"), "nas= is missing"),
        (("web", "nas=nobody", "zpool=tank"), 'cannot resolve host "nobody"'),
        (("web", "nas=nas", "zpool=tank"), "must supply only one host, not 2"),
        (("web", "nas=%", "zpool=tank"), "must supply only one host"),
        (("web", "nas=vmc-0-0", "zpool=tank"), "host vmc-0-0 is not a NAS: it has neither the attribute"),
        (("web", "nas=web", "zpool=tank"), "host web cannot be the NAS of its own disk"),
        (("web", "nas=nas-0-1"), "nas-0-1 has no attribute img_zpools"),
        (("web", "nas=nas-0-0", "zpool=a b"), 'zpool "a b" is not valid'),
        (("web", "nas=none", "zpool=a;b"), 'zpool "a;b" is not valid'),
        (("web", "nas=nas-0-0", "zpool=tank", "index=2"), "host web has no disk number 2"),
        (("web", "db", "nas=nas-0-0", "zpool=tank", "index=1"), "host db has no disk number 1"),
        (("bare", "nas=nas-0-0", "zpool=tank"), "host bare has no disk number 0"),
        (("web", "vmc-0-0", "nas=nas-0-0", "zpool=tank"), "host vmc-0-0 is not a virtual host"),
        (("nas-0-1", "nas=nas-0-0", "zpool=tank"), "host nas-0-1 is not a virtual host"),
    ]:
        assert message in images.refused(*SET, *texts), texts


def test_an_invalid_pool_attribute_is_reported_and_no_pool_is_chosen(images: Site) -> None:
    images.set_as_before("img_zpools", "tank,$(reboot)", "nas-0-0")
    assert "img_zpools of nas-0-0 is not valid" in images.refused(*SET, "web", "nas=nas-0-0")


def test_no_disk_of_a_machine_that_may_run_leaves_its_nas(images: Site) -> None:
    images.done(*SET, "web", "nas=nas-0-0", "zpool=tank")
    images.take_lease("web", "vmc-0-0", token=1)
    images.take_lease("db", "vmc-0-0", token=1)
    message = "host web may be running on vmc-0-0, and its image is written back to nas-0-0: stop it first"
    for texts in (("nas=none",), ("nas=nas-0-0", "zpool=fast"), ("nas=nas-0-1", "zpool=tank")):
        assert message in images.refused(*SET, "db", "web", *texts)
    assert message in images.refused(*REMOVE, "web")
    images.done(*SET, "web", "db", "nas=nas-0-0", "zpool=tank")
    images.change("UPDATE vm_leases SET State = 'released', Host = NULL")
    images.done(*SET, "web", "nas=none")


def test_a_machine_that_another_command_changes_is_left_alone(images: Site) -> None:
    images.done(*SET, "web", "nas=nas-0-0", "zpool=tank")
    images.patch.setattr(vm_locks, "LOCK_WAIT_SECONDS", 0.0)
    images.database.lock("vm web", 0)
    message = "another command is changing web at this moment"
    assert message in images.refused(*SET, "db", "web", "nas=none")
    assert message in images.refused(*REMOVE, "db", "web")
    before = images.contents()
    ended = images.rocks("remove host db web")  # first it warns of the NAS, which cannot be asked here
    assert ended.status == 1 and message in ended.err and images.contents() == before
    images.database.unlock("vm web")
    images.done(*SET, "web", "nas=none")


def test_one_machine_is_listed_as_nas_and_pool(images: Site) -> None:
    images.done(*SET, "web", "nas=nas-0-0", "zpool=tank")
    assert images.done(*LIST, "web") == "NAS     ZPOOL\nnas-0-0 tank \n------- -----\n"
    assert images.done(*LIST, "web", "output-header=no") == "nas-0-0 tank \n------- -----\n"
    assert [len(line.split()) for line in images.done(*LIST, "web").splitlines()] == [2, 2, 2]


def test_the_sample_of_all_machines(images: Site) -> None:
    images.done(*SET, "web", "nas=nas-0-0", "zpool=tank", "index=1")
    images.done(*SET, "db", "nas=nas-0-1", "zpool=archive")
    assert images.done(*LIST) == (
        "VM-HOST NAS     ZPOOL  \nweb:    ------- -------\nweb:    nas-0-0 tank   \ndb:     nas-0-1 archive\n"
    )
    assert images.done(*LIST, "web", "vmc-0-0", "db") == (
        "VM-HOST NAS     ZPOOL  \ndb:     nas-0-1 archive\nweb:    ------- -------\nweb:    nas-0-0 tank   \n"
    )


def test_hosts_without_virtual_disks_are_not_listed(images: Site) -> None:
    assert images.done(*LIST, "vmc-0-0", "nas", "bare") == ""
    assert images.done(*LIST, "nothing%") == images.done(*DUMP, "nothing%") == ""


def test_dump_is_the_line_of_the_specification(images: Site) -> None:
    images.done(*SET, "web", "db", "nas=nas-0-0", "zpool=tank")
    assert images.done(*DUMP) == (
        "/opt/rocks/bin/rocks set host vm nas web nas=nas-0-0 zpool=tank\n"
        "/opt/rocks/bin/rocks set host vm nas db nas=nas-0-0 zpool=tank\n"
    )
    images.done(*SET, "web", "nas=none")
    images.done(*SET, "web", "nas=nas-0-1", "zpool=a_b:c", "index=1")
    assert images.done(*DUMP, "web", "vmc-0-0") == (
        "/opt/rocks/bin/rocks set host vm nas web nas=nas-0-1 zpool=a_b:c index=1\n"
    )


def test_rows_of_another_program_without_a_pool_are_dumped_too(images: Site) -> None:
    images.done(*SET, "web", "nas=nas-0-0", "zpool=tank")
    images.change("UPDATE img_nas_server SET zpool_name = ''")
    assert images.done(*DUMP) == "/opt/rocks/bin/rocks set host vm nas web nas=nas-0-0\n"


def test_remove_forgets_all_disks_and_is_silent_about_other_hosts(images: Site) -> None:
    images.done(*SET, "web", "db", "nas=nas-0-0", "zpool=tank")
    images.done(*SET, "web", "nas=nas-0-0", "zpool=tank", "index=1")
    assert images.done(*REMOVE, "web", "vmc-0-0", "bare") == ""
    assert locations(images) == [("db", "vda", "nas-0-0", "tank")]
    assert images.done(*REMOVE, "web") == ""


def test_a_new_size_or_path_of_a_disk_does_not_change_its_nas(images: Site) -> None:
    images.done(*SET, "web", "nas=nas-0-0", "zpool=tank")
    images.done(*SET, "web", "nas=nas-0-0", "zpool=fast", "index=1")
    before = locations(images)
    images.done("set host vm web 'disksize=10 20'")
    assert locations(images) == before
    images.done("set host vm web 'disk=phy:/dev/mapper/web-vol-snap,vda,virtio file:/b,vdb,virtio'")
    assert locations(images) == before
    (found,) = json.loads(images.done("list host vm web showdisks=yes json=yes"))
    assert [(row["disk"], row["disksize"]) for row in found["vm"]] == [
        ("phy:/dev/mapper/web-vol-snap,vda,virtio", 10),
        ("file:/b,vdb,virtio", 20),
    ]
    images.done("set host vm web disk=file:/c,vda,virtio")
    assert locations(images) == before[:1]
    images.done("set host vm web 'disk=file:/c,vda,virtio file:/d,vdb,virtio file:/e,vdc,virtio'")
    assert locations(images) == before[:1]
    assert images.done(*LIST, "web", "output-header=no") == "nas-0-0 tank \n------- -----\n------- -----\n"


def test_the_device_of_an_image_is_rendered_from_its_row(images: Site) -> None:
    images.change(
        "UPDATE vm_disks SET VBD_Type = 'phy', Prefix = '/dev/mapper', Name = 'db-vol-snap', Mode = 'w'"
        " WHERE Name = 'db.vda'"
    )
    document = etree.fromstring(images.done("report host vm config adapted=no db"))
    (disk,) = document.findall("devices/disk")
    assert (disk.get("type"), disk.find("source").attrib) == ("block", {"dev": "/dev/mapper/db-vol-snap"})
    assert disk.find("target").attrib == {"dev": "vda", "bus": "virtio"}
    assert disk.find("driver").attrib == {
        **{"name": "qemu", "type": "raw", "cache": "none"},
        **{"error_policy": "stop", "rerror_policy": "stop"},
    }


def test_remove_host_forgets_before_the_machine_goes(images: Site, tree: Path) -> None:
    methods = "def run(self, node): assert self.db.rows('SELECT COUNT(*) FROM img_nas_server') == [(1,)]\n"
    hook = write_hook(tree, "remove/host/vm", "storage", methods)
    images.done(*SET, "web", "db", "nas=nas-0-0", "zpool=tank")
    assert images.rocks("remove host web vmc-0-1").status == 0
    assert locations(images) == [("db", "vda", "nas-0-0", "tank")]
    hook.unlink()
    assert images.rocks("remove host vm db").status == 0
    assert images.database.rows("SELECT COUNT(*) FROM img_nas_server") == [(0,)]


def test_rows_follow_a_nas_to_its_new_name_and_prevent_its_removal(images: Site) -> None:
    images.done(*SET, "web", "db", "nas=nas-0-0", "zpool=tank")
    images.done("set host name nas-0-0 name=store")
    assert {nas for *_, nas, _ in locations(images)} == {"store"}
    assert "host store is the NAS of disks of web, db" in images.refused("remove host store")
    assert {nas for *_, nas, _ in locations(images)} == {"store"}


def test_a_machine_whose_volume_has_its_name_cannot_be_renamed(images: Site) -> None:
    images.done(*SET, "web", "nas=nas-0-0", "zpool=tank")
    rename = ("set", "host", "name", "web", "name=shop")
    assert "the volume of host web on nas-0-0 has its name" in images.refused(*rename)
    images.done(*SET, "web", "nas=none")
    assert images.rocks(*rename).status == 0
    assert images.done(*LIST, "shop", "output-header=no").count("\n") == 2
