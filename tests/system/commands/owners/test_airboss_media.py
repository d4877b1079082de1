"""Owners insert ISOs of the site into the drives of their machines: the real service, by the owner's program."""

from pathlib import Path

import pytest

from rocks.database.connection import Database
from rocks.site.airboss import client
from tests.system.commands.owners.airboss_site import Service, refused


@pytest.fixture(autouse=True)
def library(service: Service) -> Path:
    """A library with three ISOs and the image of a disk; the site gives cluster one two of the former."""
    folder = service.folder / "library"
    folder.mkdir()
    service.site.done("set attr image_library", str(folder))
    iso, disk = service.folder / "cd.iso", service.folder / "disk.img"
    iso.write_bytes(bytes(0x8001) + b"CD001")
    disk.write_bytes(b"\1" * 1024)
    for name in ("debian-netinst", "rescue", "of-another-cluster"):
        service.site.done("add image", name, f"file={iso}")
    service.site.done("add image a-disk", f"file={disk}", "format=raw")
    service.site.done("set host attr one airboss_images 'debian-netinst, rescue,a-disk,removed'")
    service.site.done("set host attr two airboss_images of-another-cluster")
    return folder


def in_drive(service: Service, name: str) -> tuple[str, str, str]:
    """The image, where it is booted, and the path in the drive of a machine, as the site has them."""
    service.site.database.end_reading()
    found = {
        attribute: str(value)
        for attribute, value in service.site.database.rows(
            "SELECT a.Attr, a.Value FROM attributes a JOIN catindex i ON i.ID = a.Catindex"
            " JOIN categories c ON c.ID = i.Category AND c.Name = 'host' WHERE i.Name = %s",
            (name,),
        )
    }
    ((path,),) = service.site.database.rows(
        "SELECT v.CDROM_Path FROM vm_nodes v JOIN nodes n ON n.ID = v.Node WHERE n.Name = %s", (name,)
    )
    return found.get("vm_cdrom", ""), found.get("kvm_cdrom_boot", ""), path or ""


@pytest.mark.slow
def test_an_owner_inserts_and_ejects_an_iso(service: Service) -> None:
    done = service.program("set", "host", "cdrom", "vm-one-0", "image=debian-netinst", "boot=last")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert in_drive(service, "vm-one-0") == ("debian-netinst", "last", "")
    rows = service.site.done("list audit 'user=owner of one'").splitlines()
    (entry,) = [row for row in rows if "cdrom debian-netinst boot=last vm-one-0" in row]
    assert "127.0.0.1" in entry
    assert service.site.rocks("set host vm cdrom vm-one-0 cdrom=/export/iso/of-the-site.iso").status == 0
    for ejected in ("image=none", "cdrom=none", "image=EJECT"):
        assert service.program("set", "host", "cdrom", "vm-one-0", ejected).returncode == 0
        assert in_drive(service, "vm-one-0") == ("", "last", "")
    assert not (service.folder / "switched").exists()
    service.site.done("check audit")


def test_the_command_of_a_frontend_sends_the_same_request(service: Service) -> None:
    site, key = service.site, f"key={service.folder}/one.key"
    site.done("set host attr localhost airboss", f"127.0.0.1:{service.port}")
    (service.folder / ".airboss").write_text(
        f"name = head\nauthority = {service.folder}/authority/ca.crt\ncluster = one\n"
    )
    printed = site.rocks("set host cdrom vm-one-1 image=rescue", key, "dry-run=yes")
    assert printed.status == 0 and in_drive(service, "vm-one-1") == ("", "", "")
    site.done("set host cdrom vm-one-1 image=RESCUE", key)
    assert in_drive(service, "vm-one-1") == ("rescue", "", "")
    ended = site.rocks("set host cdrom vm-two-0 image=rescue", key)
    assert ended.status == 1 and "command failed: the cluster has no machine" in ended.err
    assert "must supply a key" in site.refused("set host cdrom vm-one-1 image=rescue")
    assert "need to specify" in site.refused("set host cdrom vm-one-1", key)
    assert "not cdrom=PATH" in site.refused("set host cdrom vm-one-1 cdrom=/etc/shadow", key)
    assert "boot must be first or last" in site.rocks("set host cdrom vm-one-1 image=rescue boot=x", key).err
    assert in_drive(service, "vm-one-1") == ("rescue", "", "")


def test_an_owner_gets_no_image_and_no_drive_of_others(service: Service) -> None:
    """Those of another cluster, and names that mean nothing or a file, are answered alike."""
    reasons = {
        refused(lambda name=name: service.ask("cdrom", hosts=["vm-one-0"], image=name)).replace(name, "X")
        for name in ("of-another-cluster", "missing", "/etc/shadow", "../library/rescue", "%", "rescue.img")
    }
    assert reasons == {
        "the cluster one has no image X for its drives: it has a-disk, debian-netinst, removed, rescue; "
        "ask the site's operators for another"
    }
    service.site.done("remove host attr two airboss_images")
    assert "the site has given it none" in refused(
        lambda: service.ask("cdrom", "two", "two.key", hosts=["two"], image="rescue")
    )
    service.site.done("set attr airboss_images rescue")  # for all clusters without one of their own
    assert service.ask("cdrom", "two", "two.key", hosts=["two"], image="rescue")["done"] == ["two"]
    assert in_drive(service, "vm-one-0") == ("", "", "") and in_drive(service, "two")[0] == "rescue"
    reasons = {
        refused(lambda name=name: service.ask("cdrom", hosts=[name], image="rescue")).replace(name, "X")
        for name in ("vm-two-0", "two", "vmc-0-0", "head", "missing", "compute", "%")
    }
    assert reasons == {"the cluster has no machine X; list host macs shows all"}
    assert "controls no cluster two" in refused(
        lambda: service.ask("cdrom", "two", hosts=["vm-two-0"], image="rescue")
    )
    assert in_drive(service, "vm-two-0") == ("", "", "")


def test_why_it_failed_is_for_operators(service: Service) -> None:
    """The image of a disk, one that is gone, and an attribute of all machines: nothing is changed."""
    for image in ("a-disk", "removed"):
        done = service.program("set", "host", "cdrom", "vm-one-0", f"image={image}", "boot=last")
        assert done.returncode == 1
        assert "command failed: vm-one-0" in done.stderr and "librar" not in done.stderr
        assert in_drive(service, "vm-one-0") == ("", "", "")
    assert any("that of a disk" in outcome for outcome in service.outcomes)
    assert any("no image removed in the library" in outcome for outcome in service.outcomes)
    service.site.done("set attr vm_cdrom of-another-cluster")
    assert service.ask("cdrom", hosts=["vm-one-0"], image="")["failed"] == ["vm-one-0"]
    assert "of-another-cluster" not in service.program("set", "host", "cdrom", "one", "image=none").stderr
    failed = service.site.done("list audit 'user=owner of one' failed=yes").splitlines()
    assert len([row for row in failed if "cdrom " in row]) == 4


@pytest.mark.slow
def test_a_drive_whose_machine_or_image_another_command_changes(service: Service) -> None:
    """The owner learns that it failed; the image is not removed while it is inserted."""
    with Database(service.site.database.settings) as other:
        for lock in ("vm vm-one-0", "library image rescue"):
            other.lock(lock, 10)
            assert service.ask("cdrom", hosts=["vm-one-0"], image="rescue")["failed"] == ["vm-one-0"]
            other.unlock(lock)
    with pytest.raises(client.AirbossError, match="the cluster has no machine"):
        service.ask("cdrom", hosts=["vm-one-9"], image="rescue")
    assert service.ask("cdrom", hosts=["vm-one-0"], image="rescue")["done"] == ["vm-one-0"]
