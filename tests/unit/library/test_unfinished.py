"""An import that was killed is continued by the same command, and begun anew for other files; errors leave nothing."""

import errno
import gzip
import hashlib
import json
import os
import shutil
import signal
import subprocess  # noqa: TID251 - an import that is killed at a chosen moment
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rocks.core.errors import BusyError, HostError, UserError
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
from rocks.library.records import LibraryImage, image_file, read_images
from rocks.library.sources import Sources

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
