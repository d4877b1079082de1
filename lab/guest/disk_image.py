"""A raw disk that a BIOS boots: master boot record, one FAT partition, syslinux. No loop device, no mount, no root."""

from __future__ import annotations

import struct
from pathlib import Path

from rocks.core.errors import StateError
from rocks.core.process import run_checked

SECTOR_BYTES = 512
FIRST_SECTOR = 2048
"""Where the partition begins: 1 MiB, as partitioning programs do it."""

PARTITION_SECTORS = 40 * 2048
"""40 MiB: Debian's cloud kernel of 14 MB, the initramfs of 3 MB, and space for the next releases of both."""

IMAGE_BYTES = (FIRST_SECTOR + PARTITION_SECTORS) * SECTOR_BYTES
CONFIGURATION_NAME = "SYSLINUX.CFG"

_BOOT_CODE = Path("/usr/lib/syslinux/mbr/mbr.bin")
_BOOT_CODE_BYTES = 440
_TYPE_FAT16_LBA = 0x0E
_DEADLINE_SECONDS = 30.0


def master_boot_record(boot_code: bytes) -> bytes:
    """The disk's first sector: `boot_code` (at most 440 bytes) and one active FAT partition."""
    if len(boot_code) > _BOOT_CODE_BYTES:
        raise StateError(f"boot code of {len(boot_code)} bytes does not fit into {_BOOT_CODE_BYTES}")
    no_cylinders = b"\xfe\xff\xff"  # beyond cylinder addressing: readers take the sector numbers instead
    entry = struct.pack(
        "<B3sB3sII", 0x80, no_cylinders, _TYPE_FAT16_LBA, no_cylinders, FIRST_SECTOR, PARTITION_SECTORS
    )
    return boot_code.ljust(446, b"\0") + entry + bytes(48) + b"\x55\xaa"


def make_image(image: Path, files: dict[str, Path]) -> None:
    """Create `image` with `files` (name on the partition → source) and syslinux in it. ToolError when a tool fails."""
    with image.open("xb") as disk:
        disk.truncate(IMAGE_BYTES)
        disk.write(master_boot_record(_BOOT_CODE.read_bytes()))
    partition = _partition(image)
    _run(
        "mformat",
        "-i",
        partition,
        "-T",
        str(PARTITION_SECTORS),
        "-H",
        str(FIRST_SECTOR),
        "-h",
        "16",
        "-s",
        "63",
    )
    for name, source in files.items():
        _run("mcopy", "-i", partition, str(source), f"::/{name}")
    _run("syslinux", "--offset", str(FIRST_SECTOR * SECTOR_BYTES), "--install", str(image))


def write_file(image: Path, name: str, source: Path) -> None:
    """Put `source` on the image's partition as `name`, over what has that name."""
    _run("mcopy", "-o", "-i", _partition(image), str(source), f"::/{name}")


def _partition(image: Path) -> str:
    return f"{image}@@{FIRST_SECTOR * SECTOR_BYTES}"


def _run(*arguments: str) -> None:
    run_checked(
        arguments,
        deadline_seconds=_DEADLINE_SECONDS,
        environment={"PATH": "/usr/bin:/bin", "MTOOLS_SKIP_CHECK": "1"},
    )
