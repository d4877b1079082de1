"""Files of every format become the same image; those that lie, refer to others or unpack to too much leave nothing."""

from __future__ import annotations

import bz2
import errno
import gzip
import hashlib
import json
import lzma
import os
import shutil
import signal
import subprocess  # noqa: TID251 - an import that is killed at a chosen moment
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from rocks.core.errors import BusyError, HostError, IncoherentError, RocksError, StateError, UserError
from rocks.core.image_blocks import BLOCK_BYTES
from rocks.core.process import run_checked
from rocks.library import imports
from rocks.library.imports import (
    ImportRequest,
    find_leftovers,
    import_image,
    remove_leftover,
    unfinished_import,
)
from rocks.library.records import LibraryImage, existing_image, image_file, read_images, remove_image_files
from rocks.library.sources import Sources
from tests.waiting import wait_until

SIZE = 8_000_000
needs_qemu = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not installed")
needs_zstd = pytest.mark.skipif(shutil.which("zstd") is None, reason="zstd is not installed")


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A raw disk with data at its beginning and end."""
    path = tmp_path / "disk.raw"
    with path.open("wb") as file:
        file.truncate(SIZE)
        file.write(b"boot" * 1000)
        file.seek(SIZE - 10)
        file.write(b"the end")
    return path


def qcow2_of(raw: Path, *options: str) -> Path:
    path = raw.with_suffix(".qcow2")
    run_checked(
        ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", *options, str(raw), str(path)],
        deadline_seconds=60,
    )
    return path


def added(library: Path, file: Path, name: str = "one", **changes: object) -> LibraryImage:
    request = ImportRequest(name, (file,), 1)._replace(**changes)  # type: ignore[arg-type]
    return import_image(library, request, lambda line: None)


def refused(library: Path, file: Path, text: str, **changes: object) -> None:
    """The file is rejected, and nothing of it is left."""
    before = sorted(library.iterdir()) if library.exists() else []
    with pytest.raises(UserError, match=text):
        added(library, file, **changes)  # type: ignore[arg-type]
    assert (sorted(library.iterdir()) if library.exists() else []) == before


@pytest.mark.slow
@needs_qemu
@needs_zstd
def test_every_format_becomes_the_same_image(tmp_path: Path, raw: Path) -> None:
    library = tmp_path / "library"
    files = {"raw": raw, "qcow2": qcow2_of(raw), "packed": qcow2_of(raw, "-c").rename(tmp_path / "c.qcow2")}
    files["qcow2"] = qcow2_of(raw)
    with gzip.open(tmp_path / "disk.gz", "wb") as packed:
        packed.write(raw.read_bytes())
    files["gzip"] = tmp_path / "disk.gz"
    for name in ("raw", "qcow2"):
        files[f"{name}-zstd"] = files[name].with_name(f"{name}.zst")
        run_checked(["zstd", "-q", str(files[name]), "-o", str(files[f"{name}-zstd"])], deadline_seconds=60)
    images = [added(library, file, name) for name, file in files.items()]
    assert {(image.format, image.size_bytes, image.digest) for image in images} == {
        ("raw", SIZE, images[0].digest)
    }
    assert read_images(library) == sorted(images)
    for image in images:
        file = image_file(library, image.name)
        assert file.read_bytes() == raw.read_bytes()
        assert file.stat().st_blocks * 512 < 1_000_000
        assert file.stat().st_mode & 0o777 == 0o600
    assert len(list(library.iterdir())) == 2 * len(images)


def test_a_checksum_is_compared(tmp_path: Path, raw: Path) -> None:
    digest = hashlib.sha256(raw.read_bytes()).hexdigest()
    refused(tmp_path / "library", raw, "its SHA-256 is", checksum="0" * 64)
    assert added(tmp_path / "library", raw, checksum=digest).source_digest == digest


@needs_qemu
def test_the_checksum_is_that_of_what_is_imported(tmp_path: Path, raw: Path) -> None:
    """Also when the file's owner changes it after it was read, before it is converted."""
    disk, library, changed = qcow2_of(raw), tmp_path / "library", []

    def change(line: str) -> None:
        if line.startswith("checking"):
            changed.append(line)
            disk.write_bytes(b"another")

    request = ImportRequest("one", (disk,), 1, hashlib.sha256(disk.read_bytes()).hexdigest())
    import_image(library, request, change)
    assert changed and disk.read_bytes() == b"another"
    assert image_file(library, "one").read_bytes() == raw.read_bytes()
    assert sorted(path.name for path in library.iterdir()) == ["one.img", "one.json"]


def test_a_file_that_changes_while_it_is_read_is_not_imported(
    tmp_path: Path, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when its owner sets its time back."""
    status, read, done, clock = raw.stat(), os.pread, [], tmp_path / "clock"

    def is_later() -> bool:
        """Kernels before Linux 6.13 give all changes within 4 ms the same time."""
        clock.touch()
        return clock.stat().st_ctime_ns > status.st_ctime_ns

    def change(descriptor: int, length: int, offset: int) -> bytes:
        if offset > 100_000 and not done:
            done.append(offset)
            wait_until(is_later)
            with raw.open("r+b") as file:
                file.write(b"other")
            os.utime(raw, ns=(status.st_atime_ns, status.st_mtime_ns))
        return read(descriptor, length, offset)

    monkeypatch.setattr(os, "pread", change)
    refused(tmp_path / "library", raw, "was changed while it was read")
    assert done


def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int, length: int, offset: int) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "pread", fail)
    for changes in ({}, {"checksum": "0" * 64}):
        with pytest.raises(HostError, match="the image one is not imported: .* cannot be read: Input/output"):
            added(tmp_path / "library", raw, **changes)
    assert list((tmp_path / "library").iterdir()) == []


def test_an_iso_is_recognised_and_the_disk_of_a_whole_number_of_sectors(tmp_path: Path) -> None:
    iso = tmp_path / "installer.iso"
    iso.write_bytes(bytes(0x8001) + b"CD001" + bytes(1000))
    image = added(tmp_path / "library", iso)
    assert image.format == "iso"
    assert image.size_bytes % 512 == 0
    refused(tmp_path / "library", iso, "it is an ISO, not a raw image", name="two", format="raw")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("xorriso") is None, reason="xorriso is not installed")
@pytest.mark.parametrize("packed", [False, True])
def test_an_iso_that_is_cut_off_is_refused(tmp_path: Path, packed: bool) -> None:
    iso, data = tmp_path / "whole.iso", tmp_path / "data"
    data.write_bytes(bytes(300_000))
    run_checked(["xorriso", "-as", "mkisofs", "-quiet", "-o", str(iso), str(data)], deadline_seconds=60)
    whole = iso.read_bytes()
    stated = int.from_bytes(whole[0x8050:0x8054], "little") * 2048
    assert 300_000 < stated <= len(whole)

    def file_of(content: bytes) -> Path:
        (tmp_path / "file").write_bytes(gzip.compress(content) if packed else content)
        return tmp_path / "file"

    for length in (stated - 1, stated - 2048, 0x8000 + 2048):
        reason = f"it is cut off: it states {stated} bytes and has {length}; fetch it again"
        refused(tmp_path / "library", file_of(whole[:length]), reason)
    added(tmp_path / "library", file_of(whole[:stated]), "exact")
    added(tmp_path / "library", file_of(whole[:stated].ljust(stated + 1_000_000, b"x")), "hybrid")


def test_a_raw_disk_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with disk.open("wb") as file:
        file.truncate(8 * 2**20)
    script = b"label: gpt\nstart=2048, size=2048\nstart=4096, size=8192\n"
    run_checked(["sfdisk", "--quiet", str(disk)], deadline_seconds=60, standard_input=script)
    end = (4096 + 8192) * 512
    os.truncate(disk, end)
    added(tmp_path / "library", disk, "without-copy", format="raw")
    os.truncate(disk, end - 512)
    refused(tmp_path / "library", disk, f"it is cut off: it states {end} bytes and has {end - 512}")


def test_an_archive_or_a_page_is_no_disk(tmp_path: Path, raw: Path) -> None:
    """A tar archive is what remains of an image in .tar.xz; a page is what a wrong address gives."""
    for name, mode in (("disk.tar", "w"), ("disk.tar.gz", "w:gz")):
        with tarfile.open(tmp_path / name, mode) as archive:  # type: ignore[call-overload]
            archive.add(raw, "disk.raw")
        refused(tmp_path / "library", tmp_path / name, "it is a tar archive; .*: tar -xf FILE")
    for text in (b"<!DOCTYPE html><title>404</title>", b"\n <HTML>", b"<?xml version='1.0'?><Error/>"):
        (tmp_path / "page").write_bytes(text)
        refused(tmp_path / "library", tmp_path / "page", "it is a page of a web server")


def test_a_file_of_another_kind_is_no_disk(tmp_path: Path) -> None:
    """The text is that of a list of checksums, and one whose first sector ends within a character."""
    file = tmp_path / "file"
    for content, reason in (
        (Path(sys.executable).read_bytes(), r"a program \(ELF\), not a disk"),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n" + bytes(1000), "a PDF document, not a disk"),
        (b"!<arch>\ndebian-binary   " + bytes(1000), "a Debian package"),
        (b"\xed\xab\xee\xdb\x03\0" + bytes(1000), "an RPM package"),
        (lzma.compress(os.urandom(2000)), "unpack it first: xz -dk FILE"),
        (bz2.compress(os.urandom(2000)), "unpack it first: bunzip2 -k FILE"),
        (b"7z\xbc\xaf\x27\x1c" + os.urandom(1000), "unpack it first: 7z x FILE"),
        (b"\x04\x22\x4d\x18" + os.urandom(1000), "unpack it first: lz4 -dk FILE"),
        (b"LZIP\x01" + os.urandom(1000), "unpack it first: lzip -dk FILE"),
        (20 * f"{'0' * 64}  debian-12.qcow2\r\n".encode(), "it is text, not a disk"),
        (f"\n{'ü' * 1000}".encode(), "it is text, not a disk"),
        (gzip.compress(b"#!/bin/sh\n" * 100), "it is text, not a disk"),
    ):
        file.write_bytes(content)
        refused(tmp_path / "library", file, reason)


def test_a_disk_may_begin_with_some_text(tmp_path: Path) -> None:
    """Boot sectors have messages, and what a program writes onto a disk without partitions is not known."""
    file = tmp_path / "disk"
    for number, start in enumerate(
        (b"GRUB \n", b"x" * 600, b"\n" * 511 + b"\x80", "ü\n".encode("latin-1") * 300)
    ):
        file.write_bytes(start + bytes(4096))
        assert added(tmp_path / "library", file, f"disk{number}").format == "raw"
    file.write_text("key = value\n" * 500, "utf-8")
    refused(tmp_path / "library", file, "it is text, not a disk; .* or format=raw where it is one")
    assert added(tmp_path / "library", file, "stated", format="raw").format == "raw"


@needs_qemu
def test_an_image_that_refers_to_another_file_is_rejected(tmp_path: Path, raw: Path) -> None:
    secret, overlay, apart = tmp_path / "secret", tmp_path / "overlay.qcow2", tmp_path / "apart.qcow2"
    secret.write_bytes(b"root:x:0:0" * 1000)
    make = ["qemu-img", "create", "-q", "-f", "qcow2"]
    run_checked([*make, "-b", str(secret), "-F", "raw", str(overlay), "1M"], deadline_seconds=60)
    run_checked([*make, "-o", f"data_file={tmp_path / 'data'}", str(apart), "1M"], deadline_seconds=60)
    refused(tmp_path / "library", overlay, "backing file")
    refused(tmp_path / "library", apart, "another file")
    refused(tmp_path / "library", qcow2_of(raw), "it is a qcow2 image, not a raw image", format="raw")
    refused(tmp_path / "library", raw, "it is a raw image, not a qcow2 image", format="qcow2")


@needs_qemu
def test_a_damaged_qcow2_image_is_rejected(tmp_path: Path, raw: Path) -> None:
    whole = qcow2_of(raw).read_bytes()
    for name, content in (("cut", whole[: len(whole) // 2]), ("header", whole[:60]), ("first", whole[:1])):
        file = tmp_path / f"{name}.qcow2"
        file.write_bytes(content)
        refused(tmp_path / "library", file, "is not imported", name="two")
    broken = bytearray(whole)
    broken[4:8] = (9).to_bytes(4, "big")
    (tmp_path / "version").write_bytes(broken)
    refused(tmp_path / "library", tmp_path / "version", "version 9", name="two")


@pytest.mark.slow
@needs_qemu
def test_a_file_that_holds_more_than_it_seems_to_is_rejected(tmp_path: Path) -> None:
    """A few kilobytes that are a disk of 60 TiB, or unpack to more than was allowed."""
    library, disk, packed = tmp_path / "library", tmp_path / "bomb.qcow2", tmp_path / "bomb.gz"
    run_checked(["qemu-img", "create", "-q", "-f", "qcow2", str(disk), "60T"], deadline_seconds=60)
    refused(library, disk, r"65970.7 GB, and 1.0 GB is the most")
    packed.write_bytes(10 * gzip.compress(bytes(101_000_000), 1))
    refused(library, packed, "more than 1.0 GB")
    sparse = tmp_path / "sparse.raw"
    with sparse.open("wb") as file:
        file.truncate(2**40)
    refused(library, sparse, "1099.5 GB")
    refused(library, sparse, "no data", max_gb=2000)


def test_packed_files_that_are_damaged_are_rejected(tmp_path: Path, raw: Path) -> None:
    library, whole = tmp_path / "library", gzip.compress(raw.read_bytes())
    for name, content in (("cut", whole[:-20]), ("changed", whole[:-8] + b"12345678"), ("header", whole[:3])):
        (tmp_path / name).write_bytes(content)
        refused(library, tmp_path / name, "damaged, or not whole")
    twice = tmp_path / "twice.gz"
    twice.write_bytes(gzip.compress(whole))
    refused(library, twice, "packed twice")
    if shutil.which("zstd") is not None:
        zst = tmp_path / "disk.zst"
        run_checked(["zstd", "-q", str(raw), "-o", str(zst)], deadline_seconds=60)
        zst.write_bytes(zst.read_bytes()[:-5])
        refused(library, zst, "damaged, or not whole")


def test_only_plain_files_are_read(tmp_path: Path, raw: Path) -> None:
    library = tmp_path / "library"
    (tmp_path / "link").symlink_to(raw)
    os.mkfifo(tmp_path / "fifo")
    refused(library, tmp_path / "link", "symbolic link")
    refused(library, tmp_path / "fifo", "is not a file")
    refused(library, tmp_path, "is not a file")
    refused(library, Path("/dev/zero"), "is not a file")
    refused(library, tmp_path / "absent", "No such file")
    (tmp_path / "vmdk").write_bytes(b'# Disk DescriptorFile\nRW 8 FLAT "/etc/passwd" 0\n')
    refused(library, tmp_path / "vmdk", "VMware disk")
    (tmp_path / "empty").write_bytes(b"")
    refused(library, tmp_path / "empty", "it is empty")
    for name in ("", "../one", "a b", "-x", ".hidden", "n" * 65):
        refused(library, raw, "the name of an image", name=name)


def test_an_image_is_not_replaced(tmp_path: Path, raw: Path) -> None:
    library = tmp_path / "library"
    image = added(library, raw)
    with pytest.raises(StateError, match="rocks remove image one"):
        added(library, raw)
    remove_image_files(library, "one")
    assert list(library.iterdir()) == []
    with pytest.raises(StateError, match="there is no image one"):
        existing_image(library, "one")
    assert added(library, raw) == image


def test_a_damaged_record_is_named(tmp_path: Path, raw: Path) -> None:
    library = tmp_path / "library"
    added(library, raw)
    record = library / "one.json"
    text = record.read_text()
    for content in ("", "[]", "{}", text[:-20], text.replace("raw", "qed"), text.replace("one", "two")):
        record.write_text(content)
        with pytest.raises(IncoherentError, match=r"one\.json .* rocks add image one"):
            read_images(library)


def test_a_record_longer_than_ours_is_damaged(tmp_path: Path, raw: Path) -> None:
    """A file that anyone has put there is not read whole into memory."""
    library = tmp_path / "library"
    added(library, raw)
    record = library / "one.json"
    record.write_text(" " * 64 * 1024 + record.read_text())
    with pytest.raises(IncoherentError, match=r"one\.json"):
        read_images(library)


def test_writes_that_take_only_a_part_are_continued(
    tmp_path: Path, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pwrite(2) may write fewer bytes than it was given, as on a file system that is almost full."""
    whole = added(tmp_path / "whole", raw)
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, offset: write(file, data[:1000], offset))
    assert added(tmp_path / "library", raw).digest == whole.digest
    assert image_file(tmp_path / "library", "one").read_bytes()[-10:-3] == b"the end"


def test_a_full_file_system_is_named(tmp_path: Path, raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = os.statvfs_result((4096, 4096, 1000, 0, 0, 0, 0, 0, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda path: full)
    with pytest.raises(RocksError, match=r"0 bytes free, .* are needed, and 1\.0 GiB must stay free"):
        added(tmp_path / "library", raw)
    assert list((tmp_path / "library").iterdir()) == []


@needs_qemu
def test_a_conversion_ends_before_the_file_system_is_full(
    tmp_path: Path, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program converts until it is ended; what was free is used up meanwhile."""
    tools, library = tmp_path / "tools", tmp_path / "library"
    tools.mkdir()
    (tools / "qemu-img").write_text(
        f"#!/bin/sh\n[ $1 = check ] && exit 0\ntouch {tmp_path}/begun\necho 1 %\nexec sleep 600\n"
    )
    (tools / "qemu-img").chmod(0o755)
    disk = qcow2_of(raw)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    some, none = (os.statvfs_result((4096, 4096, 10**7, n, n, 0, 0, 0, 0, 255)) for n in (10**6, 0))
    monkeypatch.setattr(os, "statvfs", lambda path: none if (tmp_path / "begun").exists() else some)
    with pytest.raises(HostError, match="must stay free; .*; then repeat the command, which continues"):
        added(library, disk)
    assert sorted(path.name for path in library.iterdir()) == [".one.import", ".one.import.json"]
    monkeypatch.undo()
    assert added(library, disk).digest == added(tmp_path / "whole", disk).digest
    assert sorted(path.name for path in library.iterdir()) == ["one.img", "one.json"]


@pytest.mark.parametrize("size", [1, 511])
def test_less_than_a_sector_is_no_disk(tmp_path: Path, size: int) -> None:
    (tmp_path / "short").write_bytes(b"x" * size)
    refused(
        tmp_path / "library", tmp_path / "short", f"{size} bytes are no disk: the smallest has one sector"
    )


def test_a_sector_is_a_disk_and_a_part_of_one_is_filled_with_zeros(tmp_path: Path) -> None:
    for size, expected in ((512, 512), (513, 1024)):
        (tmp_path / "disk").write_bytes(b"x" * size)
        assert added(tmp_path / f"library-{size}", tmp_path / "disk").size_bytes == expected


# An import that was killed is continued by the same command, and begun anew for other files; errors leave nothing.


SOURCES = Path(__file__).resolve().parents[3] / "src"
BLOCKS = 40


class PowerFailure(BaseException):  # noqa: N818 - no error of the program
    """The program does not go on."""


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal is written after each block."""
    monkeypatch.setattr(imports, "_RECORD_EVERY_BYTES", 1)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A raw disk of blocks that differ, and some of zeros."""
    path = tmp_path / "disk"
    with path.open("wb") as file:
        for number in range(BLOCKS):
            block = bytes(BLOCK_BYTES) if number % 7 == 3 else number.to_bytes(4, "big") * (BLOCK_BYTES // 4)
            file.write(block)
        file.write(b"the end of the disk, within a sector")
    return path


def imported(library: Path, *files: Path, **changes: object) -> LibraryImage:
    request = ImportRequest("one", files, 1)._replace(**changes)  # type: ignore[arg-type]
    return import_image(library, request, lambda line: None)


def interrupted(
    library: Path, monkeypatch: pytest.MonkeyPatch, after: int, *files: Path, **changes: object
) -> None:
    """Import, and fail when so many blocks were written."""
    write, written = os.pwrite, []

    def fail(descriptor: int, data: bytes, offset: int) -> int:
        if len(written) == after:
            raise PowerFailure
        written.append(offset)
        return write(descriptor, data, offset)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", fail)
        with pytest.raises(PowerFailure):
            imported(library, *files, **changes)


def packed(disk: Path) -> Path:
    path = disk.with_name("disk.gz")
    path.write_bytes(gzip.compress(disk.read_bytes(), 1))
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.slow
@pytest.mark.parametrize("make", [lambda disk: disk, packed], ids=["raw", "packed"])
@pytest.mark.parametrize("has_checksum", [False, True])
def test_an_import_is_continued_where_it_ended(
    tmp_path: Path,
    disk: Path,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[Path], Path],
    has_checksum: bool,
) -> None:
    source = make(disk)
    checksum = sha256(source) if has_checksum else None
    whole = imported(tmp_path / "whole", source, checksum=checksum)
    library, written, write = tmp_path / "library", [], os.pwrite
    for _ in range(2):
        interrupted(library, monkeypatch, 12, source, checksum=checksum)
    assert read_images(library) == []
    (leftover,) = find_leftovers(library)
    assert leftover.name == "one" and leftover.used_bytes >= 20 * BLOCK_BYTES
    monkeypatch.setattr(
        os, "pwrite", lambda file, data, offset: (written.append(offset), write(file, data, offset))[1]
    )
    assert imported(library, source, checksum=checksum) == whole
    assert len(written) <= BLOCKS + 1 - 24
    assert image_file(library, "one").read_bytes()[: disk.stat().st_size] == disk.read_bytes()
    assert sorted(path.name for path in library.iterdir()) == ["one.img", "one.json"]


def test_what_is_continued_is_compared_with_the_checksum(
    tmp_path: Path, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written is damaged meanwhile: of a raw disk it is noticed, of a packed one it is written again."""
    library = tmp_path / "library"
    for source in (disk, packed(disk)):
        checksum = sha256(source)
        interrupted(library, monkeypatch, 12, source, checksum=checksum)
        with (library / ".one.import").open("r+b") as file:
            file.write(b"damaged")
        if source == disk:
            with pytest.raises(UserError, match="its SHA-256 is"):
                imported(library, source, checksum=checksum)
            assert list(library.iterdir()) == []
        else:
            imported(library, source, checksum=checksum)
            assert image_file(library, "one").read_bytes()[: disk.stat().st_size] == disk.read_bytes()


def test_parts_are_continued_across_their_ends(
    tmp_path: Path, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content, cut = disk.read_bytes(), 5 * BLOCK_BYTES + 1000
    parts = [tmp_path / name for name in ("a", "b", "c", "d", "e", "f", "g", "h")]
    for number, path in enumerate(parts):
        path.write_bytes(content[number * cut : (number + 1) * cut])
    library = tmp_path / "library"
    for after in (1, 5, 6, 7, 8):
        interrupted(library, monkeypatch, after, *parts)
    image = imported(library, *parts)
    assert image.digest == imported(tmp_path / "whole", disk).digest


def test_another_file_or_a_changed_one_begins_anew(
    tmp_path: Path, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = tmp_path / "library"
    other = tmp_path / "other"
    other.write_bytes(disk.read_bytes()[::-1])
    interrupted(library, monkeypatch, 30, disk)
    imported(library, other)
    assert image_file(library, "one").read_bytes()[: other.stat().st_size] == other.read_bytes()
    (library / "one.json").unlink()
    interrupted(library, monkeypatch, 30, disk)
    status = disk.stat()
    with disk.open("r+b") as file:
        file.write(b"changed")
    os.utime(disk, ns=(status.st_atime_ns, status.st_mtime_ns))
    imported(library, disk)
    assert image_file(library, "one").read_bytes()[: disk.stat().st_size] == disk.read_bytes()


def test_a_damaged_journal_begins_anew(tmp_path: Path, disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = tmp_path / "library"
    journal = library / ".one.import.json"
    interrupted(library, monkeypatch, 10, disk)
    values = json.loads(journal.read_text())
    for text in (
        "",
        "[]",
        json.dumps({**values, "position": 10**12}),
        json.dumps({**values, "position": -1}),
        json.dumps({**values, "position": "1"}),
        json.dumps({**values, "is_read": 1}),
    ):
        journal.write_text(text)
        interrupted(library, monkeypatch, 10, disk)
        assert json.loads(journal.read_text())["position"] <= 13 * BLOCK_BYTES, text
    imported(library, disk)
    assert image_file(library, "one").read_bytes()[: disk.stat().st_size] == disk.read_bytes()


def test_a_file_that_cannot_be_read_for_a_while_is_continued(
    tmp_path: Path, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is unplugged, or a server that is gone."""
    library, read = tmp_path / "library", os.pread

    def fail(descriptor: int, length: int, offset: int) -> bytes:
        if offset > 20 * BLOCK_BYTES:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read(descriptor, length, offset)

    for source in (disk, packed(disk)):
        with monkeypatch.context() as patch:
            patch.setattr(os, "pread", fail)
            if source == disk:
                with pytest.raises(HostError, match=r"Input/output error; repeat the command"):
                    imported(library, source)
                assert [leftover.name for leftover in find_leftovers(library)] == ["one"]
        imported(library, source)
        assert find_leftovers(library) == []
        assert image_file(library, "one").read_bytes()[: disk.stat().st_size] == disk.read_bytes()
        (library / "one.json").unlink()


@pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not installed")
def test_a_conversion_that_was_killed_does_not_read_the_file_again(
    tmp_path: Path, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library, qcow2 = tmp_path / "library", tmp_path / "disk.qcow2"
    run_checked(["qemu-img", "convert", "-O", "qcow2", str(disk), str(qcow2)], deadline_seconds=60)
    request = ImportRequest("one", (qcow2,), 1, sha256(qcow2))

    def stop(line: str) -> None:
        if line.startswith("checking"):
            raise PowerFailure

    with pytest.raises(PowerFailure):
        import_image(library, request, stop)
    monkeypatch.setattr(Sources, "read_at", lambda *_: pytest.fail("the file is read again"))
    image = import_image(library, request, lambda line: None)
    monkeypatch.undo()
    assert image.digest == imported(tmp_path / "whole", disk).digest
    assert sorted(path.name for path in library.iterdir()) == ["one.img", "one.json"]


def test_what_a_killed_command_leaves_is_removed_by_name_or_by_the_next_import(
    tmp_path: Path, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before and after each of the last steps: there is no record before its image."""
    library = tmp_path / "library"
    interrupted(library, monkeypatch, 10, disk)
    assert remove_leftover(library, "one")
    assert not remove_leftover(library, "one")
    assert list(library.iterdir()) == []
    with monkeypatch.context() as patch:

        def stop(*_: object) -> None:
            raise PowerFailure

        patch.setattr("rocks.library.records.write_record", stop)
        with pytest.raises(PowerFailure):
            imported(library, disk)
    assert read_images(library) == []
    assert [leftover.name for leftover in find_leftovers(library)] == ["one"]
    image = imported(library, disk)
    shutil.copy(image_file(library, "one"), library / ".one.import")
    shutil.copy(image_file(library, "one"), library / ".one.import.json")
    (library / ".one.download").mkdir()
    (library / ".one.download/part").write_bytes(b"what was brought")
    assert find_leftovers(library) == []
    request = ImportRequest("two", (disk,), 1)
    import_image(library, request, lambda line: None)
    assert sorted(path.name for path in library.iterdir()) == ["one.img", "one.json", "two.img", "two.json"]
    assert read_images(library)[0] == image


def test_a_record_that_cannot_be_written_leaves_nothing(
    tmp_path: Path, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise HostError("No space left on device")

    monkeypatch.setattr("rocks.library.records.write_record", full)
    with pytest.raises(HostError, match="No space left"):
        imported(tmp_path / "library", disk)
    assert list((tmp_path / "library").iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_an_import_that_a_full_file_system_ended_is_continued(
    tmp_path: Path, disk: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """What was written stays; before anything was written, nothing does."""
    library, written, write = tmp_path / "library", [], os.pwrite

    def fail(descriptor: int, data: bytes, offset: int) -> int:
        if offset >= limit * BLOCK_BYTES:
            raise OSError(number, os.strerror(number))
        written.append(offset)
        return write(descriptor, data, offset)

    for limit, left in ((0, []), (20, ["one"])):  # noqa: B007 - of the function above
        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", fail)
            with pytest.raises(HostError, match="is not imported") as error:
                imported(library, disk)
        assert [leftover.name for leftover in find_leftovers(library)] == left
        assert ("repeat the command, which continues" in str(error.value)) is bool(left)
    with monkeypatch.context() as patch:
        full = os.statvfs_result((4096, 4096, 10**7, 0, 0, 0, 0, 0, 0, 255))
        patch.setattr(os, "statvfs", lambda path: full)
        with pytest.raises(HostError, match="must stay free.* rocks remove image one"):
            imported(library, disk)
    assert [leftover.name for leftover in find_leftovers(library)] == ["one"]
    written.clear()
    limit = BLOCKS + 1
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", fail)
        image = imported(library, disk)
    assert min(written) >= 18 * BLOCK_BYTES, "it began anew"
    assert image.digest == imported(tmp_path / "whole", disk).digest
    assert sorted(path.name for path in library.iterdir()) == ["one.img", "one.json"]


def test_an_import_of_many_parts_with_long_names_is_continued(tmp_path: Path) -> None:
    tmp_path.joinpath("library").mkdir()
    origin = {"files": [(f"/{'a' * 4000}/{number:06}", number) for number in range(4000)], "checksum": None}
    for expected in (0, 2 * BLOCK_BYTES):
        with (  # noqa: PT012 - an interruption within
            pytest.raises(PowerFailure),
            unfinished_import(tmp_path / "library", "one", origin) as continued,
        ):
            assert continued.position == expected
            continued.record(2 * BLOCK_BYTES, is_read=False)
            raise PowerFailure
    assert (tmp_path / "library/.one.import.json").stat().st_size < 65536


def test_one_image_is_imported_by_one_command(tmp_path: Path, disk: Path) -> None:
    library = tmp_path / "library"
    library.mkdir()
    with unfinished_import(library, "one", {}):
        with pytest.raises(BusyError, match="another command imports the image one"):
            imported(library, disk)
        with pytest.raises(BusyError, match="another command imports"):
            remove_leftover(library, "one")
    imported(library, disk)
    assert [image.name for image in read_images(library)] == ["one"]


def test_a_program_that_is_killed_leaves_an_import_that_is_continued(tmp_path: Path, disk: Path) -> None:
    library = tmp_path / "library"
    program = (
        "import os, signal, sys; from pathlib import Path; from rocks.library import imports\n"
        "imports._RECORD_EVERY_BYTES = 1\n"
        "write, written = os.pwrite, []\n"
        "def end(*values):\n"
        "    written.append(values)\n"
        "    return os.kill(os.getpid(), signal.SIGKILL) if len(written) > 9 else write(*values)\n"
        "os.pwrite = end\n"
        "request = imports.ImportRequest('one', (Path(sys.argv[2]),), 1)\n"
        "imports.import_image(Path(sys.argv[1]), request, lambda line: None)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, str(library), str(disk)],
        env={**os.environ, "PYTHONPATH": str(SOURCES)},
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL
    assert read_images(library) == []
    assert [leftover.name for leftover in find_leftovers(library)] == ["one"]
    imported(library, disk)
    assert image_file(library, "one").read_bytes()[: disk.stat().st_size] == disk.read_bytes()
    assert sorted(path.name for path in library.iterdir()) == ["one.img", "one.json"]
