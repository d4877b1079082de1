"""An image that was saved and imported again is the same; no file is replaced, and a failure leaves none."""

import contextlib
import io
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from rocks.core.errors import HostError, IncoherentError, RocksError, StateError, UserError
from rocks.core.process import run_checked
from rocks.library import exports
from rocks.library.exports import EXPORT_FORMATS, export_image
from rocks.library.imports import ImportRequest, import_image
from rocks.library.records import LibraryImage, image_file

SIZE = 40_000_000
PROGRAMS = {"qcow2": "qemu-img", "zstd": "zstd"}


@pytest.fixture
def library(tmp_path: Path) -> Path:
    return tmp_path / "library"


@pytest.fixture
def image(tmp_path: Path, library: Path) -> LibraryImage:
    """A disk of 40 MB with data at its beginning and near its end."""
    path = tmp_path / "disk"
    with path.open("wb") as file:
        file.truncate(SIZE)
        file.write(os.urandom(300_000))
        file.seek(SIZE - 100_000)
        file.write(b"the end")
    return imported(library, path, "one")


def imported(library: Path, path: Path, name: str) -> LibraryImage:
    return import_image(library, ImportRequest(name, (path,), 1), lambda line: None)


def saved(library: Path, image: LibraryImage, file: Path, format_name: str = "raw") -> int:
    return export_image(library, image, file, format_name, lambda line: None)


@pytest.mark.slow
@pytest.mark.parametrize("format_name", EXPORT_FORMATS)
def test_a_saved_image_is_the_same_when_it_is_imported_again(
    tmp_path: Path, library: Path, image: LibraryImage, format_name: str
) -> None:
    if shutil.which(PROGRAMS.get(format_name, "true")) is None:
        pytest.skip(f"{PROGRAMS[format_name]} is not installed")
    file = tmp_path / "saved"
    used_bytes = saved(library, image, file, format_name)
    assert used_bytes == file.stat().st_blocks * 512 < 2_000_000
    assert file.stat().st_mode & 0o777 == 0o600
    again = imported(library, file, "again")
    assert (again.digest, again.size_bytes) == (image.digest, image.size_bytes)
    if format_name == "raw":
        assert file.read_bytes() == image_file(library, "one").read_bytes()
    else:
        assert file.stat().st_size < 1_000_000


def test_no_file_is_replaced(tmp_path: Path, library: Path, image: LibraryImage) -> None:
    there, link = tmp_path / "there", tmp_path / "link"
    there.write_text("mine")
    link.symlink_to(tmp_path / "elsewhere")
    for file in (there, link, tmp_path):
        with pytest.raises(StateError, match="exists already; give another file"):
            saved(library, image, file)
    with pytest.raises(UserError, match="is in the library itself"):
        saved(library, image, library / "two.img")
    with pytest.raises(UserError, match="No such file or directory; give a file in a folder that exists"):
        saved(library, image, tmp_path / "absent" / "file")
    assert there.read_text() == "mine"
    assert not (tmp_path / "elsewhere").exists()
    assert sorted(path.name for path in library.iterdir()) == ["one.img", "one.json"]


@pytest.mark.parametrize("format_name", EXPORT_FORMATS)
def test_a_link_in_place_of_the_unfinished_file_leads_nowhere(
    tmp_path: Path, library: Path, image: LibraryImage, format_name: str
) -> None:
    if shutil.which(PROGRAMS.get(format_name, "true")) is None:
        pytest.skip(f"{PROGRAMS[format_name]} is not installed")
    secret, folder = tmp_path / "secret", tmp_path / "of-a-user"
    secret.write_text("not to be written")
    folder.mkdir()

    def exchange(line: str) -> None:
        for draft in folder.iterdir():
            draft.unlink()
            draft.symlink_to(secret)

    with contextlib.suppress(RocksError):
        export_image(library, image, folder / "saved", format_name, exchange)
    assert secret.read_text() == "not to be written"


def test_a_damaged_image_is_not_saved(tmp_path: Path, library: Path, image: LibraryImage) -> None:
    with image_file(library, "one").open("r+b") as file:
        file.write(b"damaged")
    with pytest.raises(IncoherentError, match="is not what was imported; it is not saved"):
        saved(library, image, tmp_path / "saved")
    image_file(library, "one").unlink()
    with pytest.raises(IncoherentError, match="is gone; it is not saved"):
        saved(library, image, tmp_path / "saved")
    image_file(library, "one").symlink_to("/etc/passwd")
    with pytest.raises(HostError, match="cannot be read"):
        saved(library, image, tmp_path / "saved")
    assert not (tmp_path / "saved").exists()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("zstd") is None, reason="zstd is not installed")
def test_what_was_checked_is_saved_whatever_has_the_name_meanwhile(
    tmp_path: Path, library: Path, image: LibraryImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another command removes the image, and adds another one of that name, after it was checked."""
    pack, other = exports.packed_zstd, tmp_path / "other"
    before = image_file(library, "one").read_bytes()
    other.write_bytes(b"the image of another cluster" * 1000)

    def replaced(file: io.RawIOBase) -> Iterator[bytes]:
        other.replace(image_file(library, "one"))
        return pack(file)

    monkeypatch.setattr(exports, "packed_zstd", replaced)
    saved(library, image, tmp_path / "saved.zst", "zstd")
    run_checked(["zstd", "-q", "-d", str(tmp_path / "saved.zst")], deadline_seconds=60)
    assert (tmp_path / "saved").read_bytes() == before


@pytest.mark.skipif(shutil.which("zstd") is None, reason="zstd is not installed")
def test_an_image_that_becomes_shorter_is_not_saved(
    tmp_path: Path, library: Path, image: LibraryImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack = exports.packed_zstd

    def shortened(file: io.RawIOBase) -> Iterator[bytes]:
        os.truncate(image_file(library, "one"), 100_000)
        return pack(file)

    monkeypatch.setattr(exports, "packed_zstd", shortened)
    with pytest.raises(HostError, match="became shorter"):
        saved(library, image, tmp_path / "saved.zst", "zstd")
    assert not (tmp_path / "saved.zst").exists()


def test_an_iso_is_saved_as_it_was(tmp_path: Path, library: Path) -> None:
    iso = tmp_path / "medium.iso"
    iso.write_bytes(bytes(0x8001) + b"CD001" + bytes(2**20 - 0x8006))
    medium = imported(library, iso, "medium")
    with pytest.raises(UserError, match="is an ISO, which qcow2 is not for"):
        saved(library, medium, tmp_path / "saved", "qcow2")
    saved(library, medium, tmp_path / "saved")
    assert (tmp_path / "saved").read_bytes() == iso.read_bytes()


@pytest.mark.parametrize("format_name", EXPORT_FORMATS)
def test_a_full_file_system_leaves_no_file(
    tmp_path: Path, library: Path, image: LibraryImage, monkeypatch: pytest.MonkeyPatch, format_name: str
) -> None:
    if shutil.which(PROGRAMS.get(format_name, "true")) is None:
        pytest.skip(f"{PROGRAMS[format_name]} is not installed")
    target = tmp_path / "target"
    target.mkdir()
    full = os.statvfs_result((4096, 4096, 1000, 0, 0, 0, 0, 0, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda path: full)
    with pytest.raises(RocksError, match=r"has 0 bytes free, and .* are needed; give a file on another"):
        saved(library, image, target / "saved", format_name)
    assert list(target.iterdir()) == []
