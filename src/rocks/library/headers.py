"""What a file states in its first bytes, read by no tool: its format, and why it is not taken as an image."""

from __future__ import annotations

import codecs
import os
import struct
from collections.abc import Callable
from typing import Literal

from rocks.core.errors import UserError
from rocks.core.image_blocks import OTHER_FORMATS, QCOW2

FileKind = Literal["raw", "iso", "qcow2", "gzip", "zstd"]

ReadAt = Callable[[int, int], bytes]
"""(offset, length) → the bytes there; fewer only at the end."""

_ISO_OFFSET = 0x8001
_MAGICS: tuple[tuple[int, bytes, FileKind], ...] = (
    (0, QCOW2, "qcow2"),
    (0, b"\x1f\x8b", "gzip"),
    (0, b"\x28\xb5\x2f\xfd", "zstd"),
    (_ISO_OFFSET, b"CD001", "iso"),
)
_PACKED = (
    (b"\xfd7zXZ\0", "xz -dk"),
    (b"BZh", "bunzip2 -k"),
    (b"PK\x03\x04", "unzip"),
    (b"7z\xbc\xaf\x27\x1c", "7z x"),
    (b"\x04\x22\x4d\x18", "lz4 -dk"),
    (b"LZIP", "lzip -dk"),
)
_NO_DISKS = (
    (b"\x7fELF", "a program (ELF)"),
    (b"%PDF-", "a PDF document"),
    (b"!<arch>\n", "a Debian package, or another archive of ar"),
    (b"\xed\xab\xee\xdb", "an RPM package"),
)

_TAR = (257, b"ustar")
_PAGES = (b"<!doctype", b"<html", b"<?xml")
"""How the answer of a web server begins that has no such file, in small letters."""

_HEADER = struct.Struct(">IIQIIQIIQQIIQ")
_FEATURES = struct.Struct(">QQQII")
_KNOWN_FEATURES = 0b11011
"""Dirty, corrupt, compression type, extended L2 entries: without the external data file."""

_MOST_PARTITIONS = 1024
_CORRUPT, _EXTERNAL_DATA = 0b10, 0b100
_DATA_FILE_NAME = 0x44415441


def reader_of(descriptor: int) -> ReadAt:
    """Reads an open file."""
    return lambda offset, length: os.pread(descriptor, length, offset)


def kind_of(read_at: ReadAt, *, is_raw: bool) -> FileKind:
    """The format of a file by its magic numbers; raw for any other content.

    UserError for formats of other hypervisors and packers, with the command that makes an image of it, for what is
    certainly no disk, and for text, unless somebody states that it is a raw disk.
    """
    start = read_at(0, 512)
    for offset, magic, kind in _MAGICS:
        if read_at(offset, len(magic)) == magic:
            return kind
    for offset, magic, what, _ in OTHER_FORMATS:
        if start[offset : offset + len(magic)] == magic:
            raise UserError(
                f"it is {what}; make it an image that is read here: qemu-img convert -O qcow2 FILE NEW"
            )
    for magic, unpack in _PACKED:
        if start.startswith(magic):
            raise UserError(f"it is packed in a format that is not read here; unpack it first: {unpack} FILE")
    if start[_TAR[0] :].startswith(_TAR[1]):
        raise UserError("it is a tar archive; take the image out of it first: tar -xf FILE")
    if start.lstrip().lower().startswith(_PAGES):
        raise UserError(
            "it is a page of a web server, not a disk; fetch the image again, and look at the address"
        )
    what = next((what for magic, what in _NO_DISKS if start.startswith(magic)), "")
    if what:
        raise UserError(f"it is {what}, not a disk; give the file of the disk itself")
    if not is_raw and _is_text(start):
        raise UserError(
            "it is text, not a disk; give the file of the disk itself, or format=raw where it is one"
        )
    return "raw"


def stated_bytes(kind: FileKind, read_at: ReadAt) -> int:
    """The least bytes of an ISO, or of a raw disk with a GPT, by what it states; 0 where it states nothing.

    A hybrid ISO is longer than its volume space, never shorter (ECMA-119, 8.4.8 and 8.4.12); a disk has the last sector
    of its last partition (UEFI 2.10, 5.3.3).
    """
    if kind == "iso":
        descriptor = read_at(_ISO_OFFSET - 1, 130)
        if descriptor[:1] != b"\x01" or len(descriptor) < 130:
            return 0
        return int.from_bytes(descriptor[80:84], "little") * int.from_bytes(descriptor[128:130], "little")
    header = read_at(512, 92)
    if kind != "raw" or header[:8] != b"EFI PART" or len(header) < 92:
        return 0
    begin, count, size = struct.unpack_from("<QII", header, 72)
    if not (128 <= size <= 4096 and count <= _MOST_PARTITIONS and begin < 2**40):
        return 0
    table = read_at(begin * 512, count * size)
    entries = (table[offset : offset + 128] for offset in range(0, len(table) - 127, size))
    ends = [int.from_bytes(one[40:48], "little") + 1 for one in entries if any(one[:16])]
    return max(ends, default=0) * 512


def _is_text(start: bytes) -> bool:
    """Whether the first sector of a file is lines of text: no boot sector, partition table or file system is."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(start)  # the last character may be cut
    except UnicodeDecodeError:
        return False
    return "\n" in text and all(one.isprintable() or one in "\n\r\t\f" for one in text)


def qcow2_size(read_at: ReadAt) -> int:
    """The bytes of a qcow2 image's disk. UserError when it is damaged, encrypted, or refers to another file."""
    data = read_at(0, 72)
    if len(data) < 72:
        raise UserError("it ends within its header")
    magic, version, backing, _, _, size, encryption, *_, snapshots, _ = _HEADER.unpack(data)
    if magic != 0x514649FB or version not in (2, 3):
        raise UserError(
            f"it is a qcow2 image of version {version}, and 2 and 3 are read here; qemu-img info FILE says what it is"
        )
    features, length = _read_features(read_at) if version == 3 else (0, 72)
    fault = (
        "it has a backing file, whose content is not in it"
        if backing
        else "its data are in another file"
        if features & _EXTERNAL_DATA or _names_data_file(read_at, length)
        else "it is encrypted"
        if encryption
        else "it has internal snapshots"
        if snapshots
        else "it is marked as corrupt"
        if features & _CORRUPT
        else f"it has features that are not known here ({features:#x})"
        if features & ~_KNOWN_FEATURES
        else ""
    )
    if fault:
        raise UserError(f"{fault}; make it whole: qemu-img convert -O qcow2 FILE NEW")
    return int(size)


def _read_features(read_at: ReadAt) -> tuple[int, int]:
    """(incompatible features, length of the header) of version 3."""
    data = read_at(72, _FEATURES.size)
    if len(data) < _FEATURES.size:
        raise UserError("it ends within its header")
    incompatible, _, _, _, length = _FEATURES.unpack(data)
    return incompatible, length


def _names_data_file(read_at: ReadAt, offset: int) -> bool:
    """Whether an extension of the header names an external data file."""
    for _ in range(64):
        head = read_at(offset, 8)
        if len(head) < 8:
            return False
        kind, length = struct.unpack(">II", head)
        if kind == 0:
            return False
        if kind == _DATA_FILE_NAME:
            return True
        offset += 8 + (length + 7) // 8 * 8
    return True
