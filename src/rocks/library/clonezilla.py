"""A disk that Clonezilla saved in a folder becomes an image: its partition table, and each partition by partclone.

These files of the folder are read: `disk` and `parts` (names), `sda-pt.parted` (the size of the disk), `sda-pt.sf` (the
output of `sfdisk --dump`), `sda-mbr` and `sda-hidden-data-after-mbr` (boot code), `swappt-sda2.info`, and the
partitions (`sda1.ext4-ptcl-img.gz.aa`, `.ab`, …). No link is followed; tools get content, never a path in the folder.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import string
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from rocks.core.errors import Code, HostError, RocksError, StateError, ToolError, UserError
from rocks.core.image_blocks import Content, content_of, write_block
from rocks.core.process import run, run_checked
from rocks.core.terminal import one_line
from rocks.core.values import BYTES_PER_GB, BYTES_PER_SECTOR
from rocks.library.conversion import check_space, opened, run_tool
from rocks.library.headers import kind_of
from rocks.library.images import check_added
from rocks.library.imports import UNPACKERS, sequence_of_blocks, too_large
from rocks.library.library_folder import library_folder, lock_images
from rocks.library.progress import Meter, Progress
from rocks.library.records import LibraryImage, check_new
from rocks.library.sources import SequentialReader, SourceError, Sources, names_in
from rocks.library.streams import store_received

if TYPE_CHECKING:
    from rocks.database.connection import Database
    from rocks.library.images import AddedImage

_LONGEST_FILE_BYTES = 1024**2
_PIECE_BYTES = 1024**2
_SFDISK_SECONDS, _DIG_SECONDS = 60, 4 * 3600
_PROGRAMS = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"

_DEVICE = re.compile(r"[a-z][a-z0-9]{1,31}")
_DISK_SIZE = re.compile(r"^Disk /dev/([^:\s]+): (\d{1,15})s$", re.MULTILINE)
_SECTOR_SIZE = re.compile(r"^Sector size \(logical/physical\): (\d{1,6})B/", re.MULTILINE)
_LABEL = re.compile(r"^label: *(\w+)$", re.MULTILINE)
_HEADER_LINE = re.compile(
    r"(label|label-id|first-lba|last-lba): *[\w-]{1,36}|table-length: *[0-9]{1,3}"
)  # sfdisk makes room for each entry of the table
_PARTITION_LINE = re.compile(
    r"/dev/(?P<name>[a-z0-9]+) *: *start= *(?P<start>\d{1,15}), *size= *(?P<size>\d{1,15})"
    r"(?P<rest>(?:, *(?:(?:type|Id|uuid)= *[\dA-Fa-f-]+|name=\"[^\"]*\"|attrs=\"[^\"]*\"|bootable))*)"
)
_TYPE = re.compile(r"\b(?:type|Id)= *([0-9A-Fa-f-]+)")
_EXTENDED = ("5", "05", "f", "0f", "85")
_PROTECTIVE = "ee"

_IMAGE = re.compile(r"([a-z0-9]+)\.([^.]+)-ptcl-img\.[a-z0-9]+(?:\.([a-z]{2,4}))?")
"""Partition, file system and part: `sda1.ext4-ptcl-img.gz.aa`, or in one part `sda1.ext4-ptcl-img.zst`."""

_MEMBERS = {
    "LVM2_member": "a physical volume of LVM",
    "crypto_LUKS": "encrypted (LUKS)",
    "linux_raid_member": "a part of a software RAID",
}
_LISTS = {"lvm_vg_dev.list": _MEMBERS["LVM2_member"], "luks-dev.list": _MEMBERS["crypto_LUKS"]}

_BOOT_CODE_BYTES = 440
"""In front of the disk's signature and the partition table, which sfdisk writes."""

_PAGE_BYTES = 4096
_SWAP_MAGIC = b"SWAPSPACE2"
_SWAP_HEADER = struct.Struct("<III16s16s")
_SWAP_HEADER_OFFSET = 1024

_MAGIC = b"partclone-image"
_HEAD_BYTES = 110
_VERSION = slice(30, 34)
_HEAD_1 = struct.Struct("<iQQQ")
"""Of image format 0001, at byte 36: bytes of a block, bytes of the file system, its blocks, blocks in use."""

_HEAD_2 = struct.Struct("<QQQQI")
"""Of image format 0002, at byte 52: bytes of the file system, its blocks, blocks in use twice, bytes of a block."""

_CHECKSUM, _CHECKSUM_AT = struct.Struct("<HHI"), 96
"""Of image format 0002: kind of the checksums (0: none, 32: CRC32), bytes of one, blocks between two."""


class Partition(NamedTuple):
    """A partition of the table: its name as Clonezilla saved it, its place on the disk, and its line for sfdisk."""

    name: str
    begin_bytes: int
    size_bytes: int
    line: str
    is_extended: bool


class SavedDisk(NamedTuple):
    """A disk in a folder of Clonezilla.

    `images` has the file system and the files of each partition that was saved, `swap` the first page of each partition
    that is swap space, `boot_code` the bytes outside of the partitions, with their offsets.
    """

    size_bytes: int
    script: str
    partitions: tuple[Partition, ...]
    images: dict[str, tuple[str, tuple[Path, ...]]]
    swap: dict[str, bytes]
    boot_code: tuple[tuple[int, bytes], ...]


def add_saved_disk(database: Database, added: AddedImage, progress: Progress) -> LibraryImage:
    """Make an image of the disk that Clonezilla saved in the folder `added.clonezilla`.

    UserError for an invalid parameter, and a folder that is not whole, has what is not restored here, or states sizes
    that cannot be; StateError without partclone, and when the image exists; HostError when the library cannot be
    written. Then nothing is left.
    """
    max_gb, comment = check_added(added)
    others = {name: getattr(added, name) for name in ("file", "url", "vm", "checksum", "format")}
    for name, value in others.items():
        if value is not None:
            raise UserError(f"give clonezilla= or {name}=, not both")
    library, folder = library_folder(database), Path(str(added.clonezilla)).absolute()
    check_new(library, added.name)
    programs = _programs()
    lock_images(database, [added.name])
    database.end_reading()  # hours, perhaps
    try:
        disk = read_saved_disk(folder, added.disk)
        if disk.size_bytes > max_gb * BYTES_PER_GB:
            raise too_large(disk.size_bytes, max_gb * BYTES_PER_GB)
        used_bytes = sum(_check_image(disk, partition) for partition in disk.partitions)

        def restore(descriptor: int, watch: Callable[[int], None]) -> Content:
            check_space(library, used_bytes)
            try:
                return _restore(disk, descriptor, programs, watch, progress)
            except UserError:
                check_space(library)  # a tool that could not write is no fault of the folder
                raise

        return store_received(library, added.name, comment, restore, progress)
    except UserError as error:
        raise UserError(
            f"{one_line(str(folder))} is not imported: {error}", code=Code.FILE_REJECTED
        ) from None
    except SourceError as error:
        raise HostError(
            f"the image {added.name} is not imported: {error}; repeat the command when it can be read again"
        ) from None


def _programs() -> tuple[str, str]:
    """Where sfdisk and partclone.restore are. StateError."""
    found = []
    for program, package in (("sfdisk", "fdisk"), ("partclone.restore", "partclone")):
        path = shutil.which(program, path=_PROGRAMS)
        if path is None:
            raise StateError(f"{program} is not installed: apt-get install {package}")
        found.append(path)
    return found[0], found[1]


# What the folder states. All of it is read and compared before anything is written.


def read_saved_disk(folder: Path, device: str | None) -> SavedDisk:
    """The disk in the folder: the device of that name, or the only one. UserError."""
    try:
        names = set(names_in(folder))
    except (OSError, ValueError) as error:
        raise UserError(f"the folder cannot be read: {getattr(error, 'strerror', error)}") from None
    if "ecryptfs.info" in names:
        raise UserError("the folder is encrypted (eCryptfs); decrypt it with Clonezilla first")

    def text(name: str) -> str:
        return _read(folder / name).decode("utf-8", "replace") if name in names else ""

    if not {"disk", "parts"} <= names:
        what = "Clonezilla saved partitions there, not a disk" if "parts" in names else "it has no file parts"
        raise UserError(f"{what}; give a folder that savedisk of Clonezilla has made")
    disk = _choose(text("disk").split(), device)
    for name in (f"{disk}-pt.parted", f"{disk}-pt.sf", f"{disk}-mbr"):
        if name not in names:
            raise UserError(f"its file {name} is missing; copy the folder again")
    size_sectors = _read_size(disk, text(f"{disk}-pt.parted"))
    script, partitions = _read_table(disk, text(f"{disk}-pt.sf"), size_sectors)
    members, saved = _read_members(text), text("parts").split()
    images, swap = {}, {}
    for partition in partitions:
        name = partition.name
        if name in members:
            raise UserError(f"{name} is {members[name]}, which is not restored here")
        if f"swappt-{name}.info" in names:
            swap[name] = _swap_header(name, text(f"swappt-{name}.info"), partition.size_bytes)
        elif found := _find_image(name, names):
            images[name] = found[0], tuple(folder / one for one in found[1])
        elif name in saved:
            raise UserError(f"there is no image of {name}, {name}.…-ptcl-img.…; copy the folder again")
    boot_code = [(0, _read(folder / f"{disk}-mbr")[:_BOOT_CODE_BYTES])]
    hidden = f"{disk}-hidden-data-after-mbr"
    if "label: gpt" not in script and hidden in names:
        length = min(partition.begin_bytes for partition in partitions) - BYTES_PER_SECTOR
        boot_code.append((BYTES_PER_SECTOR, _read(folder / hidden)[:length]))
    return SavedDisk(size_sectors * BYTES_PER_SECTOR, script, partitions, images, swap, tuple(boot_code))


def _read(path: Path) -> bytes:
    """The first MiB of a file of the folder. UserError for one that is none, or a link."""
    try:
        with Sources((path,)) as sources:
            return sources.read_at(0, _LONGEST_FILE_BYTES)
    except UserError as error:
        raise UserError(f"{one_line(path.name)}: {error}") from None


def _choose(disks: list[str], device: str | None) -> str:
    wrong = next((name for name in disks if not _DEVICE.fullmatch(name)), None)
    if wrong is not None or not disks:
        raise UserError(
            f"its file disk has {one_line(wrong or 'nothing')!r}, not the name of a disk such as sda"
        )
    if device is not None and device not in disks:
        raise UserError(f"it has no disk {one_line(device)}; it has: {', '.join(disks)}")
    if device is None and len(disks) > 1:
        raise UserError(f"it has the disks {', '.join(disks)}; choose one: disk={disks[0]}")
    return device or disks[0]


def _read_size(disk: str, text: str) -> int:
    """The sectors of the disk, as `parted unit s print` stated them."""
    size, sector = _DISK_SIZE.search(text), _SECTOR_SIZE.search(text)
    if size is None or sector is None or size[1] != disk:
        raise UserError(
            f"its file {disk}-pt.parted does not state the size of {disk} in sectors; copy it again"
        )
    if int(sector[1]) != BYTES_PER_SECTOR:
        raise UserError(
            f"{disk} has sectors of {sector[1]} bytes, and disks of machines have {BYTES_PER_SECTOR}"
        )
    return int(size[2])


def _read_table(disk: str, text: str, size_sectors: int) -> tuple[str, tuple[Partition, ...]]:
    """The script for sfdisk, and the partitions in their order. UserError for a table that cannot be of this disk."""
    label = _LABEL.search(text)
    kind = label[1] if label else "dos"  # sfdisk before 2.26 knew no other, and printed none
    if kind not in ("dos", "gpt"):
        raise UserError(
            f"{disk} has a partition table of the type {kind}; only dos (MBR) and gpt are restored here"
        )
    lines, partitions = [] if label else ["label: dos"], []
    for line in map(str.rstrip, text.splitlines()):
        found = _PARTITION_LINE.fullmatch(line)
        if found and found["size"].strip("0"):
            partitions.append(_read_partition(disk, found, size_sectors))
            lines.append(partitions[-1].line)
        elif line.startswith("/dev/") and not found:
            raise UserError(
                f"its file {disk}-pt.sf has a line that sfdisk does not print: {one_line(line)[:80]}"
            )
        elif _HEADER_LINE.fullmatch(line):
            lines.append(line)
    if not partitions:
        raise UserError(f"its file {disk}-pt.sf has no partition; copy it again")
    _check_places(partitions)
    return "\n".join(lines) + "\n", tuple(partitions)


def _read_partition(disk: str, found: re.Match[str], size_sectors: int) -> Partition:
    name, (start, size) = found["name"], (int(found[key]) for key in ("start", "size"))
    if not re.fullmatch(rf"{disk}p?[0-9]{{1,3}}", name):
        raise UserError(f"its file {disk}-pt.sf has {name}, which is no partition of {disk}")
    if start < 1 or start + size > size_sectors:
        raise UserError(
            f"{name} ends at sector {start + size}, and {disk} has {size_sectors}; copy the folder again"
        )
    kind = match[1].lower() if (match := _TYPE.search(found["rest"])) else ""
    if kind == _PROTECTIVE:
        raise UserError(
            f"{disk} has a GPT, which the sfdisk of this Clonezilla did not save; save it with a newer one"
        )
    return Partition(name, start * BYTES_PER_SECTOR, size * BYTES_PER_SECTOR, found[0], kind in _EXTENDED)


def _check_places(partitions: list[Partition]) -> None:
    """UserError for partitions that share sectors. An extended one has others in it."""
    plain = sorted((one for one in partitions if not one.is_extended), key=lambda one: one.begin_bytes)
    for one, other in itertools.pairwise(plain):
        if other.begin_bytes < one.begin_bytes + one.size_bytes:
            raise UserError(f"{one.name} and {other.name} overlap; copy the folder again")
    if len({one.name for one in partitions}) < len(partitions):
        raise UserError("a partition is in the table twice; copy the folder again")


def _read_members(text: Callable[[str], str]) -> dict[str, str]:
    """Partition → what it is, for those that are only a part of something, or encrypted."""
    found = {}
    for file in ("dev-fs.list", "blkid.list"):
        for line in text(file).splitlines():
            device, *values = re.split(r'[\s:="]+', line)
            for member in _MEMBERS.keys() & set(values):
                found[device.removeprefix("/dev/")] = _MEMBERS[member]
    for file, what in _LISTS.items():
        found.update({word.removeprefix("/dev/"): what for word in text(file).split()})
    return found


def _find_image(partition: str, names: Iterable[str]) -> tuple[str, list[str]] | None:
    """The file system, and the files of the partition in their order; None when there is no file. UserError."""
    files = sorted(name for name in names if name.startswith(f"{partition}."))
    if not files:
        return None
    matches = [_IMAGE.fullmatch(name) for name in files]
    system = matches[0][2] if matches[0] else ""
    stems = set()
    for name, match in zip(files, matches, strict=True):
        if match is None:
            raise UserError(f"{partition} was saved by another program than partclone ({one_line(name)})")
        stems.add(name.removesuffix(f".{match[3]}"))
    if len(stems) > 1:
        raise UserError(
            f"{partition} has two images, {files[0]} and {files[-1]}; remove what is not of this disk"
        )
    (stem,), (first, *_) = stems, [match[3] for match in matches if match]
    if first is None and len(files) == 1:
        return system, files
    expected = map("".join, itertools.product(string.ascii_lowercase, repeat=len(first or "aa")))
    for name, part in zip(files, expected, strict=False):
        if name != f"{stem}.{part}":
            raise UserError(f"the part {stem}.{part} is missing; copy the folder again")
    return system, files


def _swap_header(name: str, text: str, size_bytes: int) -> bytes:
    """The first page of swap space, as in `union swap_header` of Linux: mkswap would need a device."""
    values = dict(re.findall(r'^(UUID|LABEL)="?([^"\n]*)"?$', text, re.MULTILINE))
    try:
        uuid = UUID(values.get("UUID") or "0" * 32).bytes
    except ValueError:
        raise UserError(f"its file swappt-{name}.info has no valid UUID; copy it again") from None
    last_page = min(size_bytes // _PAGE_BYTES - 1, 2**32 - 1)
    if last_page < 9:  # mkswap refuses less as well
        raise UserError(f"{name} is too small for swap space")
    label = values.get("LABEL", "").encode()[:15]
    page = bytearray(_PAGE_BYTES)
    _SWAP_HEADER.pack_into(page, _SWAP_HEADER_OFFSET, 1, last_page, 0, uuid, label)
    page[-len(_SWAP_MAGIC) :] = _SWAP_MAGIC
    return bytes(page)


def _check_image(disk: SavedDisk, partition: Partition) -> int:
    """The bytes in use that the image of the partition states, 0 for one that states none. UserError."""
    if partition.name not in disk.images:
        return 0
    system, files = disk.images[partition.name]
    try:
        with Sources(files) as sources:
            sources.check_sizes()
            head = b"".join(itertools.islice(_whole(sources, _HEAD_BYTES), 1))
            return _read_head(head, system, partition.size_bytes)
    except UserError as error:
        raise UserError(f"{partition.name}: {error}") from None


def _read_head(head: bytes, system: str, size_bytes: int) -> int:
    """The bytes in use. UserError for what partclone did not write, and for more than the partition has."""
    if not head.startswith(_MAGIC):
        if system == "dd":
            return 0
        raise UserError(
            "its image is not of partclone, or is packed in a way that is not read here (gzip, zstd)"
        )
    if len(head) < _HEAD_BYTES:
        raise UserError("its image ends within its header; copy it again")
    if head[_VERSION] == b"0001":
        block, stated, blocks, used = _HEAD_1.unpack_from(head, 36)
    elif head[_VERSION] == b"0002":
        stated, blocks, used, _, block = _HEAD_2.unpack_from(head, 52)
        mode, size, each = _CHECKSUM.unpack_from(head, _CHECKSUM_AT)
        if (mode, size) not in ((0, 0), (32, 4)) or (mode and not each):
            raise UserError("its header states checksums that partclone does not write; copy it again")
    else:
        raise UserError(
            f"its image has the format {one_line(str(head[_VERSION])[2:-1])}, and 0001 and 0002 are known"
        )
    if max(stated, blocks * block) > size_bytes or used > blocks or block < 1:
        raise UserError(
            f"its image is of a file system of {max(stated, blocks * block)} bytes, and the partition has {size_bytes}"
        )
    return int(used * block)


# What is written: the table by sfdisk, boot code, swap space, and the partitions by partclone, each at its offset.


def _restore(
    disk: SavedDisk,
    descriptor: int,
    programs: tuple[str, str],
    watch: Callable[[int], None],
    progress: Progress,
) -> Content:
    sfdisk, partclone = programs
    os.ftruncate(descriptor, disk.size_bytes)
    _write_table(sfdisk, disk.script, descriptor)
    for offset, code in disk.boot_code:
        os.pwrite(descriptor, code, offset)
    written = 0

    def count(data: bytes) -> None:
        nonlocal written
        written += len(data)
        watch(written)

    for partition in disk.partitions:
        if partition.name in disk.swap:
            os.pwrite(descriptor, disk.swap[partition.name], partition.begin_bytes)
        if partition.name not in disk.images:
            continue
        system, files = disk.images[partition.name]
        try:
            with Sources(files) as sources:
                pieces = _watched(_whole(sources, _PIECE_BYTES), count)
                first = next(pieces, b"")
                _read_head(first, system, partition.size_bytes)  # the file may be another one by now
                if first.startswith(_MAGIC):
                    arguments = [partclone, "--source", "-", "--overwrite", str(opened(descriptor))]
                    arguments += [f"--offset={partition.begin_bytes}", "--quiet", "--logfile", "/dev/null"]
                    _run_fed(arguments, itertools.chain([first], pieces), disk.size_bytes)
                else:
                    _write_plain(descriptor, partition, itertools.chain([first], pieces))
                sources.check_unchanged()
        except UserError as error:
            raise UserError(f"{partition.name}: {error}") from None
    # partclone writes blocks of zeros that are in use, such as the log of XFS; a file system without holes keeps them
    run(["fallocate", "--dig-holes", str(opened(descriptor))], deadline_seconds=_DIG_SECONDS)
    meter = Meter(progress, "its digest", os.fstat(descriptor).st_blocks * BYTES_PER_SECTOR)
    return content_of(descriptor, meter.reach)


def _write_table(sfdisk: str, script: str, descriptor: int) -> None:
    options = ["--quiet", "--no-reread", "--no-tell-kernel", "--wipe", "never"]
    try:
        run_checked(
            [sfdisk, *options, str(opened(descriptor))],
            deadline_seconds=_SFDISK_SECONDS,
            standard_input=script.encode(),
            environment={"LC_ALL": "C"},
        )
    except ToolError as error:
        raise UserError(f"its partition table cannot be written: {one_line(str(error))}") from None


def _whole(sources: Sources, piece_bytes: int) -> Iterator[bytes]:
    """The files joined and unpacked, by their first bytes. UserError when they are damaged."""
    reader = SequentialReader(sources.read_at, lambda data: None)
    unpack = UNPACKERS.get(kind_of(sources.read_at, is_raw=True))
    if unpack is not None:
        yield from unpack(reader)
        return
    while piece := reader.read(piece_bytes):
        yield piece


def _watched(pieces: Iterable[bytes], count: Callable[[bytes], None]) -> Iterator[bytes]:
    for piece in pieces:
        count(piece)
        yield piece


def _write_plain(descriptor: int, partition: Partition, pieces: Iterable[bytes]) -> None:
    """Write a partition that was saved with all its blocks, without those of zeros."""
    for offset, block in sequence_of_blocks(pieces):
        if offset + len(block) > partition.size_bytes:
            raise UserError(f"its image has more than the {partition.size_bytes} bytes of the partition")
        if block.strip(b"\0"):
            write_block(descriptor, partition.begin_bytes + offset, block)


def _run_fed(arguments: list[str], pieces: Iterable[bytes], max_bytes: int) -> None:
    """Run partclone, which reads the pieces. UserError when it cannot restore them, and the errors of the pieces."""
    failed: list[RocksError | OSError] = []
    reading, writing = os.pipe()

    def feed() -> None:
        try:
            with os.fdopen(writing, "wb") as pipe:
                for piece in pieces:
                    pipe.write(piece)
        except BrokenPipeError:
            pass  # it has ended, and states why, or needs no more
        except (RocksError, OSError) as error:
            failed.append(error)

    feeder = threading.Thread(target=feed, daemon=True)
    feeder.start()
    try:
        finished = run_tool(arguments, max_bytes, input_descriptor=reading)
    finally:
        os.close(reading)  # a feeder that still writes ends by it
        feeder.join()
    if failed:
        raise failed[0]
    if finished.exit_status:
        printed = [line for line in finished.error_text.splitlines() if "please check" not in line]
        raise UserError(
            f"its image is damaged, or not whole; partclone states: {one_line((printed or ['nothing'])[-1].strip())}"
        )
