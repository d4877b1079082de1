"""Disks, and the folders in which Clonezilla saves them, made with the tools that it uses: sfdisk, partclone, mkfs."""

import gzip
import os
import shutil
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

from rocks.core.process import run_checked

MIB = 1024**2
SECTORS = MIB // 512
UUID = "0a1b2c3d-4e5f-4a6b-8c7d-8e9fa0b1c2d3"
PART_BYTES = MIB


class Part(NamedTuple):
    """A partition: number, what it is for (mkfs's name, `swap`, `dd` or empty), its first sector, its MiB, its type."""

    number: int
    system: str
    start: int
    size_mib: int
    type: str
    packing: str = "gz"


def tool(*arguments: str | Path, given: bytes = b"") -> bytes:
    return run_checked(list(map(str, arguments)), deadline_seconds=120, standard_input=given).output


def make_disk(disk: Path, label: str, size_bytes: int, parts: list[Part], files: Path) -> None:
    """A sparse disk with a table and boot code; each file system has what is in the folder `files`."""
    with disk.open("wb") as file:
        file.truncate(size_bytes)
    lines = [f"label: {label}"]
    lines += [
        f"{part.number} : start={part.start}, size={part.size_mib * SECTORS}, type={part.type}"
        for part in parts
    ]
    tool("sfdisk", "-q", disk, given="\n".join(lines).encode())
    with disk.open("r+b") as file:
        file.write(bytes(range(1, 221)) * 2)
        if label == "dos":
            file.seek(512)
            file.write(b"core of the boot loader" * 50)
    for part in parts:
        make_system(disk, part, files)


def partition_file(disk: Path, part: Part) -> Path:
    return disk.with_name(f"{disk.name}.{part.number}")


def make_system(disk: Path, part: Part, files: Path) -> None:
    """Make the file system in a file of its own, and copy that to its place on the disk."""
    if not part.system:
        return
    file = partition_file(disk, part)
    with file.open("wb") as new:
        new.truncate(part.size_mib * MIB)
    if part.system == "ext4":
        tool("mkfs.ext4", "-q", "-F", "-d", files, file)
    elif part.system == "xfs":
        inside = "".join(f"{one.name} ---644 0 0 {one}\n" for one in sorted(files.iterdir()))
        proto = disk.with_name("proto")
        proto.write_text(f"/dev/null\n0 0\nd--755 0 0\n{inside}$\n")
        tool("mkfs.xfs", "-q", "-p", proto, file)
    elif part.system == "vfat":
        tool("mkfs.vfat", file)
        tool("mcopy", "-i", file, *sorted(files.iterdir()), "::")
    elif part.system == "swap":
        tool("mkswap", "-U", UUID, "-L", "spare", file)
    else:
        file.write_bytes(os.urandom(part.size_mib * MIB // 2).ljust(part.size_mib * MIB, b"\0"))
    tool(
        "dd", f"if={file}", f"of={disk}", "bs=512", f"seek={part.start}", "conv=sparse,notrunc", "status=none"
    )


def save_disk(disk: Path, folder: Path, parts: list[Part], device: str = "sda") -> None:
    """Write the folder that Clonezilla makes of the disk, which it knows as `device`."""
    folder.mkdir()
    infix = "p" if device[-1].isdigit() else ""
    names = {part.number: f"{device}{infix}{part.number}" for part in parts}
    (folder / "clonezilla-img").write_text("This image was saved by Clonezilla\n")
    (folder / "disk").write_text(f"{device}\n")
    saved = [part for part in parts if part.system not in ("", "swap")]
    (folder / "parts").write_text(" ".join(names[part.number] for part in saved) + "\n")
    (folder / "dev-fs.list").write_text(
        "# <Device name>   <File system>\n"
        + "".join(f"/dev/{names[part.number]} {part.system}\n" for part in saved)
    )
    size = disk.stat().st_size // 512
    (folder / f"{device}-pt.parted").write_text(
        f"Model: ATA DISK (scsi)\nDisk /dev/{device}: {size}s\nSector size (logical/physical): 512B/512B\n"
    )
    table = tool("sfdisk", "--dump", disk).decode()
    for number in sorted(names, reverse=True):
        table = table.replace(f"{disk}{number} ", f"/dev/{names[number]} ")
    (folder / f"{device}-pt.sf").write_text(table.replace(f"device: {disk}", f"device: /dev/{device}"))
    with disk.open("rb") as file:
        (folder / f"{device}-mbr").write_bytes(file.read(512))
        if "label: dos" in table:
            (folder / f"{device}-hidden-data-after-mbr").write_bytes(file.read(512 * (parts[0].start - 1)))
    for part in parts:
        name = names[part.number]
        if part.system == "swap":
            (folder / f"swappt-{name}.info").write_text(f'UUID="{UUID}"\nLABEL="spare"\n')
        elif part.system:
            write_image(folder, f"{name}.{part.system}-ptcl-img", part.packing, saved_partition(disk, part))


def saved_partition(disk: Path, part: Part) -> bytes:
    """What partclone writes of the partition; of one whose blocks it does not know, all of them."""
    file = partition_file(disk, part)
    if part.system == "dd":
        return file.read_bytes()
    if part.packing == "old":
        return old_image(file.read_bytes())
    target = file.with_name(f"{file.name}.ptcl")
    tool(f"partclone.{part.system}", "-c", "-q", "-F", "-L", "/dev/null", "-s", file, "-o", target)
    return target.read_bytes()


def write_image(folder: Path, stem: str, packing: str, data: bytes) -> None:
    """Pack an image as Clonezilla does: in parts with gzip or none, in one file with zstd."""
    if packing == "zst":
        (folder / f"{stem}.zst").write_bytes(tool("zstd", "-q", "-c", given=data))
        return
    data, ending = (data, "uncomp") if packing == "uncomp" else (gzip.compress(data, 1), "gz")
    letters = (f"{one}{other}" for one in "ab" for other in "abcdefghijklmnopqrstuvwxyz")
    for start in range(0, len(data), PART_BYTES):
        (folder / f"{stem}.{ending}.{next(letters)}").write_bytes(data[start : start + PART_BYTES])


def old_image(data: bytes, block: int = 4096) -> bytes:
    """An image in partclone's first format, as Clonezilla wrote until 2017: a byte for each block, a sum after each.

    That format's sum takes the first byte of the block again and again; its reader compares it all the same.
    """
    blocks = [data[start : start + block] for start in range(0, len(data), block)]
    used = bytes(any(one) for one in blocks)
    head = b"partclone-image" + b"EXTFS".ljust(15, b"\0") + b"0001\0\0"
    head += struct.pack("<iQQQ", block, len(data), len(blocks), sum(used)) + bytes(4096)
    image, crc = bytearray(head + used + b"BiTmAgIc"), 0
    for one in blocks:
        if any(one):
            crc = zlib.crc32(one[:1] * block, crc)
            image += one + (crc ^ 0xFFFFFFFF).to_bytes(4, "little")
    return bytes(image)


def copied(folder: Path, target: Path) -> Path:
    """A copy of a folder for a test that spoils it."""
    shutil.copytree(folder, target, symlinks=True)
    return target
