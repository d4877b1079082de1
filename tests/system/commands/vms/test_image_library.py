"""The image library by its commands, and clusters whose disks are made from its images; no physical host answers."""

import json
import os
import shutil
import zlib
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

from rocks.core.public_keys import read_keys
from rocks.database.connection import Database
from rocks.fleet.wire.requests import SeedSpec
from rocks.library import images as image_library
from rocks.library import imports
from rocks.machine.record import load_vms
from rocks.machine.seeds import create_seeds
from tests.system.commands.conftest import Site

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEpmvZ7QZ9bJc1bS7yXg0mB1hQdCkV2y3d5mYJ0Xh8aB it's me"
SIZE = 3_000_000_000


@pytest.fixture
def library(vm_site: Site, tmp_path: Path) -> Path:
    """The library of the site, which has the image `debian`, a disk of 3 GB, and the ISO `medium`."""
    folder, disk, iso = tmp_path / "library", tmp_path / "disk", tmp_path / "iso"
    with disk.open("wb") as file:
        file.truncate(SIZE)
        file.write(b"boot")
    iso.write_bytes(bytes(0x8001) + b"CD001")
    vm_site.done("set attr image_library", str(folder))
    vm_site.done("add image debian", f"file={disk}", "comment=from packages")
    vm_site.done("add image medium", f"file={iso}")
    return folder


def listed(site: Site, *names: str) -> list[dict[str, Any]]:
    """The rows of the images."""
    found = json.loads(site.done("list image", *names, "json=yes"))
    return [{"name": image["name"], **row} for image in found for row in image["image"]]


def attributes(site: Site, host: str) -> dict[str, str]:
    """The attributes that the host has of its own."""
    (found,) = json.loads(site.done("list host attr", host, "json=yes"))
    return {row["attr"]: row["value"] for row in found["attr"] if row["source"] == "H"}


def test_images_are_listed_described_checked_and_removed(vm_site: Site, library: Path) -> None:
    debian, medium = listed(vm_site)
    assert (debian["name"], debian["size"], debian["used"], debian["comment"]) == (
        "debian",
        SIZE,
        65536,
        "from packages",
    )
    assert (medium["name"], medium["format"]) == ("medium", "iso")
    assert vm_site.done("check image") == "debian is what was imported\nmedium is what was imported\n"
    vm_site.done("set image debian comment=")
    assert listed(vm_site, "debian")[0]["comment"] is None
    with (library / "debian.img").open("r+b") as file:
        file.write(b"Boot")
    answer = vm_site.rocks("check image")
    assert answer.status == 3
    assert "Error: debian: the image debian is not what was imported" in answer.err
    (library / "debian.img").unlink()
    assert "is gone" in vm_site.refused("check image debian")
    vm_site.done("remove image debian")
    vm_site.done("remove image medium")
    assert list(library.iterdir()) == []
    assert "there is no image debian" in vm_site.refused("remove image debian")


def test_an_image_is_saved_in_a_file_by_the_end_of_its_name(
    vm_site: Site, library: Path, tmp_path: Path
) -> None:
    (tmp_path / "small").write_bytes(b"boot".ljust(2_000_000, b"\0"))
    vm_site.done("add image small", f"file={tmp_path / 'small'}")
    for name, kind in (("a.img", b"boot"), ("a.qcow2", b"QFI\xfb"), ("a.zst", b"\x28\xb5\x2f\xfd")):
        file = tmp_path / name
        if shutil.which({"a.qcow2": "qemu-img", "a.zst": "zstd"}.get(name, "true")) is not None:
            printed = vm_site.done("save image small", f"file={file}")
            assert printed.startswith(f"saved: {file}, ")
            with file.open("rb") as content:
                assert content.read(4) == kind
    for arguments, text in (
        (("debian", f"file={tmp_path / 'a.img'}"), "exists already"),
        (("debian",), "must supply the path of the file"),
        ((f"file={tmp_path / 'b'}",), "must supply the name of one image"),
        (("absent", f"file={tmp_path / 'b'}"), "there is no image absent"),
        (("debian", f"file={tmp_path / 'b'}", "format=vmdk"), "format must be raw, qcow2 or zstd"),
        (("debian", "file=/nul\0"), "is not the path of a file"),
    ):
        assert text in vm_site.refused("save image", *arguments), arguments


def test_the_disk_of_a_machine_that_cannot_be_read_makes_no_image(vm_site: Site, library: Path) -> None:
    vm_site.done("add cluster 203.0.113.9 1 fe-name=web cluster-naming=yes")
    for arguments, text in (
        (("vm=absent",), "absent"),
        (("vm=web", "disk=vdz"), "web has no disk vdz; it has: vda"),
        (("vm=web", "file=/etc/passwd"), "give vm= or file=, not both"),
        (("vm=web", "format=raw"), "give vm= or format=, not both"),
        (("disk=vda",), "disk= is for vm=NAME"),
    ):
        assert text in vm_site.refused("add image golden", *arguments), arguments
    vm_site.take_lease("web", "vmc-0-0")
    assert "rocks stop host vm web" in vm_site.refused("add image golden vm=web")
    assert [image["name"] for image in listed(vm_site)] == ["debian", "medium"]


def test_a_comment_is_for_the_image_that_is_there_now(vm_site: Site, library: Path, tmp_path: Path) -> None:
    """Another command has replaced the image while this one waited for its lock."""
    lock = image_library.lock_images

    def replaced(database: Database, names: list[str]) -> None:
        lock(database, names)
        record = library / f"{names[0]}.json"
        record.write_text(json.dumps(json.loads(record.read_text()) | {"digest": "0" * 64}))

    vm_site.patch.setattr(image_library, "lock_images", replaced)
    vm_site.done("set image debian comment=new")
    record = json.loads((library / "debian.json").read_text())
    assert (record["comment"], record["digest"]) == ("new", "0" * 64)


def test_an_import_in_parts_that_was_interrupted_is_listed_and_continued(
    vm_site: Site, library: Path, tmp_path: Path
) -> None:
    parts, write, written = tmp_path / "parts", os.pwrite, []
    parts.mkdir()
    for name in ("aa", "ab", "ac"):
        (parts / name).write_bytes(name.encode() * 500_000)
    vm_site.patch.setattr(imports, "_RECORD_EVERY_BYTES", 1)

    def interrupt(descriptor: int, data: bytes, offset: int) -> int:
        written.append(offset)
        if len(written) == 20:
            raise KeyboardInterrupt
        return write(descriptor, data, offset)

    vm_site.patch.setattr(os, "pwrite", interrupt)
    assert vm_site.rocks("add image joined", f"file={parts}").status != 0
    row = listed(vm_site)[-1]
    assert (row["name"], row["format"], row["digest"]) == ("joined", "unfinished", None)
    assert row["used"] > 1_000_000
    vm_site.done("add image joined", f"file={parts / 'aa'},ab,ac")
    assert len(written) < 60
    assert (listed(vm_site)[1]["name"], listed(vm_site)[1]["size"]) == ("joined", 3_000_320)
    (library / "joined.json").rename(tmp_path / "record")
    assert listed(vm_site)[-1]["format"] == "unfinished"
    vm_site.done("remove image joined")
    assert sorted(path.name for path in library.iterdir() if "joined" in path.name) == []
    assert "there is no image joined" in vm_site.refused("remove image joined")
    (parts / "ab").write_bytes(b"cut off")
    assert "one may not be whole" in vm_site.refused("add image joined", f"file={parts}")


def test_what_is_no_image_is_rejected(vm_site: Site, library: Path, tmp_path: Path) -> None:
    add, disk = ("add", "image"), f"file={tmp_path / 'disk'}"
    for arguments, text in (
        ((*add, "debian", disk), "there is an image debian already"),
        ((*add, "two"), "must supply the path of the file"),
        ((*add, disk), "must supply the name of one image"),
        ((*add, "two", f"file=/{'x' * 300}"), "File name too long"),
        ((*add, "two", "file=/nul\0"), "is not the path of a file"),
        ((*add, "two", disk, "size=2"), "it is a disk of 3.0 GB, and 2.0 GB is the most"),
        ((*add, "two", disk, "size=-1"), "size"),
        ((*add, "two", disk, "format=vmdk"), "format must be raw, qcow2 or iso"),
        ((*add, "two", disk, "checksum=12"), "must be a SHA-256"),
        ((*add, "two", disk, f"checksum={64 * 'a'},{64 * 'b'}"), "checksum has 2 values for 1 files"),
        ((*add, "two", disk, "comment=two\nlines"), "printable characters"),
        ((*add, "../two", disk), "the name of an image"),
        (("list", "image", "three"), "there is no image three"),
        (("set", "image", "three", "comment=x"), "there is no image three"),
        (("list", "image", "debain"), "did you mean debian? rocks list image shows all"),
        (("check", "image", "../../etc/passwd"), "the name of an image"),
        (("set", "attr", "image_library", "images"), "absolute path of a folder"),
    ):
        assert text in vm_site.refused(*arguments), arguments
    assert len(listed(vm_site)) == 2


def test_a_cluster_is_made_from_an_image(vm_site: Site, library: Path, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"# mine\n{KEY}\n")
    add = ("add", "cluster", "203.0.113.9", "2", "fe-name=web", "cluster-naming=yes", "image=debian")
    answer = vm_site.rocks(*add, f"key={tmp_path / 'keys'}")
    assert (answer.status, "nobody can log in" in answer.err) == (0, False)
    head, first, second = (attributes(vm_site, name) for name in ("web", "vm-web-0", "vm-web-1"))
    assert {key: head[key] for key in ("vm_image", "kvm_netboot", "vm_authorized_keys")} == {
        "vm_image": "debian",
        "kvm_netboot": "no",
        "vm_authorized_keys": KEY,
    }
    assert (first["vm_cluster_address"], second["vm_cluster_address"]) == ("10.1.0.1", "10.1.0.2")
    assert read_keys(first["vm_authorized_keys"]) == (KEY,)
    assert vm_site.done("list host boot vm-web-0").split() == ["ACTION", "os"]
    config = vm_site.rocks("report host vm config vm-web-0").out
    assert "<source file='/state/partition1/kvm/disks/vm-web-0.vda.seed'/>" in config
    assert config.count("<readonly/>") == 1
    assert "<boot dev='network'/>" not in config
    refused = vm_site.refused("remove image debian")
    assert "those of vm-web-0, vm-web-1, web; remove these machines" in refused


def test_a_damaged_image_that_machines_need_is_removed_and_added_again(
    vm_site: Site, library: Path, tmp_path: Path
) -> None:
    vm_site.rocks("add cluster 203.0.113.9 1 fe-name=web cluster-naming=yes image=debian")
    vm_site.done("set host vm cdrom web image=medium")
    for name, source, users in (("debian", "disk", "vm-web-0, web"), ("medium", "iso", "web")):
        before = listed(vm_site, name)[0]["digest"]
        with (library / f"{name}.img").open("r+b") as file:
            file.write(b"Boot")
        assert f"remove it and add it again: rocks remove image {name}" in vm_site.refused(
            "check image", name
        )
        removed = vm_site.rocks("remove image", name)
        again = f"although {users} may need it; to add it again: rocks add image {name} file=…"
        assert removed.status == 0 and f"{name} was damaged, and is removed {again}" in removed.err
        vm_site.done("add image", name, f"file={tmp_path / source}")
        assert listed(vm_site, name)[0]["digest"] == before
    assert attributes(vm_site, "web")["vm_image"] == "debian" and cd_of(vm_site, "web") == "image=medium"


def test_an_image_that_machines_need_is_removed_only_as_what_was_found_damaged(
    vm_site: Site, library: Path, tmp_path: Path
) -> None:
    """Not when it cannot be read for a moment, nor when its content is another one since; one without its file is."""
    vm_site.rocks("add cluster 203.0.113.9 1 fe-name=web cluster-naming=yes image=debian")
    file, elsewhere = library / "debian.img", tmp_path / "elsewhere"
    needed = "the image debian is not removed, since disks are made from it"
    file.rename(elsewhere)
    file.symlink_to(elsewhere)
    assert needed in vm_site.refused("remove image debian")
    found = vm_site.refused("check image debian")
    assert "debian cannot be read" in found and f"rm {file}" in found
    elsewhere.rename(file)
    assert vm_site.done("check image debian") == "debian is what was imported\n"
    with file.open("r+b") as content:
        content.write(b"Boot")
    vm_site.refused("check image debian")
    with file.open("r+b") as content:
        content.write(b"boot")
    assert needed in vm_site.refused("remove image debian")
    known = file.stat()  # what was read damaged may be sound the next time: a file system has repaired it
    (library / ".debian.damaged").write_text(f"{known.st_ino} {known.st_size} {known.st_mtime_ns}")
    assert vm_site.done("check image debian") == "debian is what was imported\n"
    assert needed in vm_site.refused("remove image debian")
    file.unlink()
    assert vm_site.rocks("remove image debian").status == 0
    assert [path.name for path in library.iterdir() if "debian" in path.name] == []


@pytest.mark.slow
def test_a_machine_on_the_vlan_of_another_cluster_is_set_up_for_its_own(vm_site: Site, library: Path) -> None:
    """The key of the other cluster's frontend would let that one's owner in."""
    add = ("add", "cluster", "cluster-naming=yes", "image=debian", "num-computes=1")
    vm_site.rocks(*add, "ip=203.0.113.9", "fe-name=one", "vlan=101")
    vm_site.rocks(*add, "ip=203.0.113.10", "fe-name=two", "vlan=102")
    vm_site.rocks("add host interface vm-one-0 eth1 vlan=102")
    seeds = create_seeds(vm_site.database, load_vms(vm_site.database, ["vm-one-0", "vm-two-0"]))
    for name, own, other in (("vm-one-0", b"root@one", b"root@two"), ("vm-two-0", b"root@two", b"root@one")):
        seed = seeds[name]
        assert isinstance(seed, SeedSpec)
        content = zlib.decompress(b64decode(seed.content))
        assert own in content and other not in content and (b"vm-one-0" in content) == (name == "vm-one-0")


def test_a_compute_that_is_added_without_an_address_is_named(vm_site: Site, library: Path) -> None:
    vm_site.rocks("add cluster 203.0.113.9 1 fe-name=one cluster-naming=yes image=debian vlan=101")
    vm_site.done('add host vm vmc-0-0 membership="Hosted VM" vlan=101 name=vm-one-1')
    vm_site.rocks("set host attr vm-one-1 vm_image debian")
    lines: list[str] = []
    names = ["vm-one-0", "vm-one-1"]
    create_seeds(vm_site.database, load_vms(vm_site.database, names), lines.append)
    (line,) = lines
    assert line.startswith("Warning: vm-one-1 has no address in its cluster")
    vm_site.done(line.partition("rocks ")[2].partition(",")[0])
    create_seeds(vm_site.database, load_vms(vm_site.database, names), lines.append)
    assert lines == [line]


def test_computes_may_have_another_image_or_none(vm_site: Site, library: Path, tmp_path: Path) -> None:
    vm_site.done("add image other", f"file={tmp_path / 'disk'}")
    add = ("add", "cluster", "203.0.113.9", "1", "fe-name=one", "image=debian")
    answer = vm_site.rocks(*add, "compute-image=none", "cluster-naming=yes")
    assert "nobody can log in: rocks set host attr one vm_authorized_keys" in answer.err
    assert "vm_image" not in attributes(vm_site, "vm-one-0")
    assert ".seed" not in vm_site.rocks("report host vm config vm-one-0").out
    add = ("add", "cluster", "203.0.113.10", "1", "fe-name=two", "image=debian", "cluster-naming=yes")
    two = vm_site.rocks(*add, "compute-image=other")
    many = ("add", "cluster", "203.0.113.11", "40", "fe-name=three", "image=debian", "compute-image=other")
    assert vm_site.rocks(*many).statements <= two.statements
    assert attributes(vm_site, "vm-two-0")["vm_image"] == "other"


def test_a_cluster_that_cannot_be_made_from_its_image_is_not_added(
    vm_site: Site, library: Path, tmp_path: Path
) -> None:
    (tmp_path / "private").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    (tmp_path / "none").write_text("# nothing\n")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "shadow").write_text("root:secret\n")
    (tmp_path / "secret").symlink_to("shadow")
    add, image = ("add", "cluster", "203.0.113.9", "2", "fe-name=web"), "image=debian"
    for arguments, text in (
        (("image=absent",), "there is no image absent"),
        (("image=medium",), "is an ISO"),
        ((image, "compute-image=medium"), "is an ISO"),
        ((image, "disk-per-compute=2"), "give it at least 3 GB"),
        ((image, "disk-per-frontend=1"), "the disk of web has 1 GB"),
        (("key=/etc/hostname",), "give image=NAME too"),
        (("compute-image=debian",), "give image=NAME too"),
        ((image, f"key={tmp_path / 'private'}"), "this is a private key"),
        ((image, f"key={tmp_path / 'none'}"), "has no key"),
        ((image, f"key={tmp_path / 'bytes'}"), "is not text"),
        ((image, f"key={tmp_path}"), "cannot be read"),
        ((image, f"key={tmp_path / 'pipe'}"), "it is not a file"),
        ((image, "key=/dev/zero"), "it is not a file"),
        ((image, f"key={tmp_path / 'secret'}"), "not taken: line 1 is not a public SSH key: TYPE"),
        ((image, "key=/nul\0"), "cannot be read"),
        ((image, f"key=/{'x' * 300}"), "cannot be read"),
    ):
        assert text in vm_site.refused(*add, *arguments), arguments
    assert json.loads(vm_site.done("list host vm json=yes")) == []


def cd_of(site: Site, name: str) -> str:
    """The CD that the listing has for the machine."""
    (found,) = json.loads(site.done("list host vm", name, "showdisks=yes", "json=yes"))
    return str(found["vm"][0]["cdrom"])


def test_an_iso_of_the_library_is_inserted_and_ejected(vm_site: Site, library: Path) -> None:
    vm_site.done("add cluster 203.0.113.9 0 fe-name=web cluster-naming=yes")
    insert = ("set", "host", "vm", "cdrom", "web")
    vm_site.done("set host boot web action=os")
    vm_site.done(*insert, "image=medium", "boot=last")
    assert cd_of(vm_site, "web") == "image=medium"
    config = vm_site.rocks("report host vm config web").out
    order = [line.strip() for line in config.splitlines() if "<boot " in line]
    assert order == ["<boot dev='network'/>", "<boot dev='hd'/>", "<boot dev='cdrom'/>"]
    assert f"library/{listed(vm_site, 'medium')[0]['digest']}.img'/>" in config
    assert (
        "it is in the CD drive of web; take it out first: rocks set host vm cdrom web eject"
        in vm_site.refused("remove image medium")
    )
    assert "vm_cdrom medium" in vm_site.done("dump host attr web")
    vm_site.done(*insert, "/dev/sr0", "boot=first")
    assert cd_of(vm_site, "web") == "/dev/sr0" and "vm_cdrom" not in attributes(vm_site, "web")
    vm_site.done(*insert, "image=medium")
    for nothing in ("eject", "cdrom=none", "image=none"):
        vm_site.done(*insert, nothing)
        assert "cdrom" not in vm_site.rocks("report host vm config web").out
    vm_site.done("remove image medium")


def test_what_cannot_be_inserted_changes_nothing(vm_site: Site, library: Path) -> None:
    vm_site.done("add cluster 203.0.113.9 0 fe-name=web cluster-naming=yes")
    insert = ("set", "host", "vm", "cdrom", "web")
    vm_site.done(*insert, "image=medium")
    for arguments, text in (
        (("image=absent",), "there is no image absent"),
        (("image=debian",), "is that of a disk, and a drive takes ISOs"),
        (("image=../x",), "the name of an image"),
        (("image=medium", "cdrom=/x.iso"), "not both"),
        (("image=medium", "boot=second"), "boot must be first or last"),
        (("image=medium", "web"), "must supply only one host"),
        (("x.iso",), "image=NAME inserts an ISO of the library"),
    ):
        assert text in vm_site.refused(*insert, *arguments), arguments
    assert cd_of(vm_site, "web") == "image=medium"
    (library / "medium.json").unlink()
    assert "without a CD: rocks set host vm cdrom web eject" in vm_site.refused("report host vm config web")
    vm_site.done("set attr vm_cdrom medium")
    assert "from the attribute vm_cdrom of a wider scope" in vm_site.refused(*insert, "eject")
