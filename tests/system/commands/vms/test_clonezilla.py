"""Disks that Clonezilla saved become images, by the real partclone: `rocks add image NAME clonezilla=FOLDER`."""

import json
import os
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from rocks.core.image_blocks import content_of
from rocks.library import clonezilla, conversion
from tests.clonezilla_folder import MIB, SECTORS, Part, copied, make_disk, save_disk, tool
from tests.system.commands.conftest import Site

LINUX, SWAP = "0FC63DAF-8483-4772-8E79-3D69D8477DE4", "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F"
ESP, BIOS_BOOT = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B", "21686148-6449-6E6F-744E-656564454649"
GPT = [
    Part(14, "dd", SECTORS, 1, BIOS_BOOT, "uncomp"),
    Part(15, "vfat", 2 * SECTORS, 20, ESP, "uncomp"),
    Part(1, "ext4", 24 * SECTORS, 40, LINUX),
    Part(2, "swap", 64 * SECTORS, 8, SWAP),
    Part(3, "xfs", 72 * SECTORS, 320, LINUX, "zst"),
]
DOS = [
    Part(1, "ext4", 2048, 30, "83"),
    Part(2, "", 31 * SECTORS, 60, "5"),
    Part(5, "ext4", 32 * SECTORS, 30, "83", "old"),
    Part(6, "swap", 64 * SECTORS, 8, "82"),
]


class Saved:
    """Two disks and their folders, which no test changes."""

    def __init__(self, folder: Path) -> None:
        files = folder / "files"
        files.mkdir()
        (files / "random").write_bytes(os.urandom(3 * MIB))
        (files / "zeros").write_bytes(bytes(MIB))
        self.gpt, self.dos = folder / "gpt.img", folder / "dos.img"
        make_disk(self.gpt, "gpt", 400 * MIB, GPT, files)
        make_disk(self.dos, "dos", 100 * MIB, DOS, files)
        self.gpt_folder, self.dos_folder = folder / "gpt", folder / "dos"
        save_disk(self.gpt, self.gpt_folder, GPT)
        save_disk(self.dos, self.dos_folder, DOS, "nvme0n1")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    return Saved(tmp_path_factory.mktemp("saved"))


@pytest.fixture
def library(vm_site: Site, tmp_path: Path) -> Path:
    """The empty library of the site."""
    vm_site.done("set attr image_library", str(tmp_path / "library"))
    return tmp_path / "library"


def add(site: Site, folder: Path, name: str = "disk", *more: str) -> str:
    return site.done("add image", name, f"clonezilla={folder}", *more)


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return content_of(file.fileno()).digest


def test_a_disk_with_a_gpt_is_what_it_was(vm_site: Site, saved: Saved, library: Path) -> None:
    """Each byte: the table and its copy, boot code, ext4 in parts, XFS in zstd, FAT, swap, and one without a system."""
    assert len(list(saved.gpt_folder.glob("sda1.ext4-ptcl-img.gz.*"))) > 2
    assert re.fullmatch(r"disk: a disk of 0\.4 GB, of which .* are used\n", add(vm_site, saved.gpt_folder))
    (row,) = json.loads(vm_site.done("list image json=yes"))[0]["image"]
    assert (row["format"], row["size"], row["digest"]) == ("raw", 400 * MIB, digest(saved.gpt))
    assert (library / "disk.img").stat().st_blocks * 512 < 40 * MIB
    assert sorted(path.name for path in library.iterdir()) == ["disk.img", "disk.json"]
    assert vm_site.done("check image") == "disk is what was imported\n"


def test_a_disk_with_logical_partitions_and_an_old_image_is_what_it_was(
    vm_site: Site, saved: Saved, library: Path, tmp_path: Path
) -> None:
    """Also with the table as sfdisk printed it before it knew GPT, and chosen of two disks."""
    folder = copied(saved.dos_folder, tmp_path / "copy")
    add(vm_site, folder, "new")
    table = folder / "nvme0n1-pt.sf"
    text = re.sub(r"^(label|label-id|device|sector-size):.*\n", "", table.read_text(), flags=re.MULTILINE)
    signature = re.search(r"label-id: .*", table.read_text())
    assert signature is not None
    empty = "/dev/nvme0n1p4 : start=        0, size=        0, Id= 0\n"
    table.write_text("# partition table of /dev/nvme0n1\n" + text.replace("type=", "Id= ") + empty)
    (folder / "disk").write_text("nvme0n1 sda\n")
    assert "choose one: disk=nvme0n1" in vm_site.refused("add image old", f"clonezilla={folder}")
    add(vm_site, folder, "old", "disk=nvme0n1")
    assert digest(library / "new.img") == digest(saved.dos)
    with (library / "old.img").open("r+b") as file, saved.dos.open("rb") as disk:
        disk.seek(440)  # the old table has no signature of the disk: any is right
        file.seek(440)
        file.write(disk.read(4))
    assert digest(library / "old.img") == digest(saved.dos)


def test_what_removed_files_left_is_not_stored(vm_site: Site, library: Path, tmp_path: Path) -> None:
    """The blocks in use alone, where dd has all; a disk of 3 TB needs no more room than these."""
    part, files, disk = Part(1, "ext4", 2048, 60, LINUX), tmp_path / "files", tmp_path / "big.img"
    files.mkdir()
    (files / "kept").write_bytes(b"kept" * MIB)
    (files / "removed").write_bytes(os.urandom(30 * MIB))
    rest = Part(2, "swap", 100 * SECTORS, 0, SWAP)
    make_disk(disk, "gpt", 400 * MIB, [part], files)
    tool("debugfs", "-w", "-R", "rm /removed", tmp_path / "big.img.1")
    save_disk(disk, tmp_path / "saved", [part, rest])
    tool("dd", f"if={tmp_path / 'big.img.1'}", f"of={disk}", "bs=1M", "seek=1", "conv=notrunc", "status=none")
    vm_site.done("add image dd", f"file={disk}")
    add(vm_site, tmp_path / "saved", "used")
    used = {name: (library / f"{name}.img").stat().st_blocks * 512 / MIB for name in ("dd", "used")}
    assert used["used"] < 10 < 34 < used["dd"]
    sectors = 3 * 10**12 // 512
    parted, table = tmp_path / "saved/sda-pt.parted", tmp_path / "saved/sda-pt.sf"
    parted.write_text(re.sub(r"sda: \d+s", f"sda: {sectors}s", parted.read_text()))
    swap = f"/dev/sda2 : start=  204800, size=  {sectors - 300000}, type={SWAP}\n"
    table.write_text(re.sub(r"last-lba: \d+", f"last-lba: {sectors - 34}", table.read_text()) + swap)
    assert "give size=GB" in vm_site.refused("add image big", f"clonezilla={tmp_path / 'saved'}")
    add(vm_site, tmp_path / "saved", "big", "size=3000")
    status = (library / "big.img").stat()
    assert status.st_size == sectors * 512 and status.st_blocks * 512 < 10 * MIB


def write(name: str, content: str | bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(
        content if isinstance(content, bytes) else content.encode()
    )


def change(name: str, pattern: str, replacement: str) -> Callable[[Path], object]:
    def changed(folder: Path) -> None:
        text, count = re.subn(pattern, replacement, (folder / name).read_text(), flags=re.MULTILINE)
        assert count, (name, pattern)
        (folder / name).write_text(text)

    return changed


def gone(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def link(name: str, target: str) -> Callable[[Path], object]:
    def linked(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(target)

    return linked


def spoiled(name: str, offset: int, data: bytes) -> Callable[[Path], object]:
    def written(folder: Path) -> None:
        with (folder / name).open("r+b") as file:
            file.seek(offset, os.SEEK_SET if offset >= 0 else os.SEEK_END)
            file.write(data)

    return written


def shortened(name: str, size: int) -> Callable[[Path], object]:
    return lambda folder: os.truncate(folder / name, size)


EXT4 = "sda1.ext4-ptcl-img.gz"
VFAT = "sda15.vfat-ptcl-img.uncomp.aa"
XFS = "sda3.xfs-ptcl-img.zst"
MANY = "9" * 5000
WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (shutil.rmtree, "cannot be read: No such file"),
    "no disk": (gone("disk"), "Clonezilla saved partitions there, not a disk"),
    "no names": (gone("parts"), "has no file parts"),
    "encrypted folder": (write("ecryptfs.info", ""), "encrypted (eCryptfs)"),
    "name with dots": (write("disk", "../../etc"), "not the name of a disk"),
    "empty names": (write("disk", "\n"), "not the name of a disk"),
    "name with bytes": (write("disk", b"\xff\x00sda"), "not the name of a disk"),
    "no size": (write("sda-pt.parted", "Disk /dev/sda: 400MB\n"), "does not state the size"),
    "other disk": (change("sda-pt.parted", "/dev/sda", "/dev/sdb"), "does not state the size"),
    "sectors": (change("sda-pt.parted", r"logical/physical\): 512B", "logical/physical): 4096B"), "of 4096 bytes"),
    "no table": (gone("sda-pt.sf"), "sda-pt.sf is missing"),
    "no boot code": (gone("sda-mbr"), "sda-mbr is missing"),
    "empty table": (write("sda-pt.sf", "label: gpt\n"), "has no partition"),
    "other table": (change("sda-pt.sf", "label: gpt", "label: sun"), "of the type sun"),
    "table with commands": (change("sda-pt.sf", r"name=.*|$", ', size=1, start=1', ), "sfdisk does not print"),
    "partition of another disk": (change("sda-pt.sf", "/dev/sda3", "/dev/sdb3"), "no partition of sda"),
    "twice": (change("sda-pt.sf", "/dev/sda14", "/dev/sda1"), "twice"),
    "overlap": (change("sda-pt.sf", r"(/dev/sda2 : start= +)\d+", r"\g<1>100000"), "overlap"),
    "ends behind the disk": (change("sda-pt.sf", r"(/dev/sda3 .*size= +)\d+", r"\g<1>900000"), "copy the folder"),
    "long number": (change("sda-pt.sf", r"(/dev/sda3 .*size= +)\d+", rf"\g<1>{MANY}"), "sfdisk does not print"),
    "long size": (change("sda-pt.parted", r": \d+s", f": {MANY}s"), "does not state the size"),
    "long sectors": (change("sda-pt.parted", r"physical\): \d+B", f"physical): {MANY}B"), "does not state the size"),
    "disk without end": (change("sda-pt.parted", r": \d+s", f": {'9' * 15}s"), "give size=GB"),
    "smaller disk": (change("sda-pt.parted", r": \d+s", ": 2000s"), "and sda has 2000"),
    "table sfdisk refuses": (change("sda-pt.sf", r"last-lba: \d+", "last-lba: 99999999"), "table cannot be written"),
    "LVM": (change("dev-fs.list", "sda1 ext4", "sda1 LVM2_member"), "a physical volume of LVM"),
    "LVM by its list": (write("lvm_vg_dev.list", "vg0 /dev/sda1 2b7\n"), "a physical volume of LVM"),
    "LUKS": (write("luks-dev.list", "/dev/sda1 /dev/mapper/ocs_luks_x\n"), "encrypted (LUKS)"),
    "LUKS by its type": (write("blkid.list", '/dev/sda3: UUID="9" TYPE="crypto_LUKS"\n'), "encrypted (LUKS)"),
    "no image": (gone(XFS), "there is no image of sda3"),
    "another program": (write("sda1.aa", ""), "another program than partclone (sda1.aa)"),
    "two images": (write("sda1.xfs-ptcl-img.gz.aa", ""), "two images"),
    "first part": (gone(f"{EXT4}.aa"), f"{EXT4}.aa is missing"),
    "part in the middle": (gone(f"{EXT4}.ab"), f"{EXT4}.ab is missing"),
    "last part": (lambda folder: sorted(folder.glob(f"{EXT4}.*"))[-1].unlink(), "sda1: it is damaged, or not whole"),
    "short part": (shortened(f"{EXT4}.ab", 1000), "one may not be whole"),
    "link": (link(XFS, "/etc/hostname"), "sda3: it is a symbolic link"),
    "link of the names": (link("parts", "/etc/hostname"), "parts: it is a symbolic link"),
    "link of the table": (link("sda-pt.sf", "/dev/zero"), "sda-pt.sf: it is a symbolic link"),
    "pipe": (lambda folder: (gone(XFS)(folder), os.mkfifo(folder / XFS)), "sda3: it is not a file"),
    "other packing": (write(XFS, b"\xfd7zXZ\0" + bytes(600)), "unpack it first"),
    "lzo": (write(XFS, b"\x89LZO\0\r\n" + bytes(600)), "is not of partclone"),
    "cut in its header": (write(XFS, b"partclone-image" + bytes(20)), "ends within its header"),
    "unknown format": (spoiled(VFAT, 30, b"0009"), "has the format 0009"),
    "larger system": (spoiled(VFAT, 52, b"\0\0\0\0\0\1"), "bytes, and the partition has 20971520"),
    "no blocks": (spoiled(VFAT, 84, bytes(4)), "bytes, and the partition has"),
    "checksums of no bytes": (spoiled(VFAT, 98, bytes(2)), "checksums that partclone does not write"),
    "checksums of no blocks": (spoiled(VFAT, 100, bytes(4)), "checksums that partclone does not write"),
    "false header": (spoiled(VFAT, 40, b"X"), "Invalid header checksum"),
    "false data": (spoiled(VFAT, 200_000, b"another"), "CRC error"),
    "cut": (lambda folder: sorted(folder.glob("sda15.*"))[-1].unlink(), "sda15: its image is damaged, or not whole"),
    "cut zstd": (shortened(XFS, 500_000), "sda3: it is damaged, or not whole"),
    "more than the partition": (write("sda14.dd-ptcl-img.uncomp.aa", b"x" * (MIB + 1)), "more than the 1048576 bytes"),
    "swap": (write("swappt-sda2.info", "UUID=none\n"), "has no valid UUID"),
}  # fmt: skip


def test_folders_that_are_not_whole_or_state_what_cannot_be_are_rejected(
    vm_site: Site, saved: Saved, library: Path, tmp_path: Path
) -> None:
    add(vm_site, saved.dos_folder, "other")
    before = {path: path.stat().st_mtime_ns for path in library.iterdir()}
    for number, (case, (spoil, text)) in enumerate(WRONG.items()):
        folder = copied(saved.gpt_folder, tmp_path / f"case-{number}")
        spoil(folder)
        found = vm_site.refused("add image disk", f"clonezilla={folder}")
        assert text in found and found.startswith(str(folder)) and "/proc/" not in found, (case, found)
        assert {path: path.stat().st_mtime_ns for path in library.iterdir()} == before, case
        shutil.rmtree(folder, ignore_errors=True)
    folder = f"clonezilla={saved.gpt_folder}"
    link_to_folder = tmp_path / "link"
    link_to_folder.symlink_to(saved.gpt_folder)
    for arguments, text in (
        (("disk", folder, "file=/x"), "give clonezilla= or file=, not both"),
        (("disk", folder, "vm=web"), "not both"),
        (("disk", folder, "checksum=12"), "give clonezilla= or checksum=, not both"),
        (("disk", folder, "disk=sdb"), "it has no disk sdb; it has: sda"),
        (("other", folder), "there is an image other already"),
        (("disk", f"clonezilla={link_to_folder}"), "cannot be read"),
        (("disk", "clonezilla=/nul\0"), "cannot be read"),
    ):
        assert text in vm_site.refused("add image", *arguments), arguments
    vm_site.patch.setattr(clonezilla, "_PROGRAMS", str(tmp_path))
    assert "sfdisk is not installed: apt-get install fdisk" in vm_site.refused("add image disk", folder)


def test_nothing_is_left_without_room_and_after_an_interruption(
    vm_site: Site, saved: Saved, library: Path
) -> None:
    folder = f"clonezilla={saved.gpt_folder}"

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with vm_site.patch.context() as patch:
        patch.setattr(clonezilla, "content_of", interrupt)
        assert vm_site.rocks("add image disk", folder).status != 0
    assert list(library.iterdir()) == []
    status = os.statvfs(library)
    with vm_site.patch.context() as patch:
        patch.setattr(conversion, "RESERVED_BYTES", status.f_bavail * status.f_frsize - 4 * MIB)
        found = vm_site.rocks("add image disk", folder)
    assert found.status != 0 and "more are needed" in found.err
    assert list(library.iterdir()) == []


def test_what_a_killed_command_left_is_removed_by_the_next(
    vm_site: Site, saved: Saved, library: Path
) -> None:
    def die(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        vm_site.patch.setattr(clonezilla, "_write_plain", die)
        try:
            vm_site.rocks("add image disk", f"clonezilla={saved.gpt_folder}")
        finally:
            os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert [path.name.startswith(".disk") for path in library.iterdir()] == [True]
    add(vm_site, saved.dos_folder, "other")
    assert sorted(path.name for path in library.iterdir()) == ["other.img", "other.json"]
    add(vm_site, saved.gpt_folder)
    assert digest(library / "disk.img") == digest(saved.gpt)
