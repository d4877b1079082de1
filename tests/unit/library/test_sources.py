"""Images in parts: joined in their order, checked as one; parts that are missing, cut off or no files are refused."""

import gzip
import hashlib
import os
import shutil
from pathlib import Path

import pytest

from rocks.core.errors import UserError
from rocks.core.image_blocks import BLOCK_BYTES
from rocks.core.process import run_checked
from rocks.library.imports import ImportRequest, import_image
from rocks.library.records import LibraryImage, image_file
from rocks.library.sources import find_parts

SIZE = 5_000_000
PART = 1_234_567


@pytest.fixture
def disk() -> bytes:
    """A disk with data here and there, some of them across the end of a part."""
    content = bytearray(SIZE)
    for offset in (0, PART - 3, 2 * PART, 3 * BLOCK_BYTES, SIZE - 5):
        content[offset : offset + 5] = b"hello"
    return bytes(content)


def split(folder: Path, content: bytes) -> list[Path]:
    """The content in parts, as split(1) makes them."""
    folder.mkdir()
    paths = [folder / f"part-a{chr(97 + i)}" for i in range(-(-len(content) // PART))]
    for number, path in enumerate(paths):
        path.write_bytes(content[number * PART : (number + 1) * PART])
    return paths


def joined(library: Path, text: str, **changes: object) -> LibraryImage:
    request = ImportRequest("one", find_parts(text), 1)._replace(**changes)  # type: ignore[arg-type]
    return import_image(library, request, lambda line: None)


def refused(library: Path, text: str, reason: str, **changes: object) -> None:
    with pytest.raises(UserError, match=reason):
        joined(library, text, **changes)
    assert not library.exists() or list(library.iterdir()) == []


def test_parts_are_joined_in_their_order(tmp_path: Path, disk: bytes) -> None:
    """By a folder, by a list, and from a packed file; the checksum is that of all together."""
    paths = split(tmp_path / "raw", disk)
    packed = split(tmp_path / "packed", gzip.compress(disk, 0, mtime=0))
    whole = tmp_path / "whole"
    whole.write_bytes(disk)
    expected = joined(tmp_path / "library", str(whole))
    texts = {
        "folder": (str(tmp_path / "raw"), hashlib.sha256(disk).hexdigest()),
        "list": (f"{paths[0]},{','.join(path.name for path in paths[1:])}", None),
        "paths": (",".join(str(path) for path in paths), hashlib.sha256(disk).hexdigest()),
        "packed": (str(tmp_path / "packed"), hashlib.sha256(gzip.compress(disk, 0, mtime=0)).hexdigest()),
    }
    assert len(packed) > 3
    for name, (text, checksum) in texts.items():
        image = joined(tmp_path / name, text, checksum=checksum)
        assert (image.digest, image.size_bytes) == (expected.digest, expected.size_bytes), name
        file = image_file(tmp_path / name, "one")
        assert file.read_bytes()[:SIZE] == disk
        assert file.stat().st_blocks * 512 <= 10 * BLOCK_BYTES


def test_a_comma_in_the_name_of_a_file_is_no_separator(tmp_path: Path, disk: bytes) -> None:
    path = tmp_path / "a,b"
    path.write_bytes(disk)
    assert find_parts(str(path)) == (path,)


@pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not installed")
def test_parts_of_a_qcow2_image_are_one_image(tmp_path: Path) -> None:
    raw, whole = tmp_path / "raw", tmp_path / "disk.qcow2"
    raw.write_bytes(os.urandom(2 * PART))
    run_checked(["qemu-img", "convert", "-O", "qcow2", str(raw), str(whole)], deadline_seconds=60)
    paths = split(tmp_path / "parts", whole.read_bytes())
    joined(tmp_path / "library", str(tmp_path / "parts"), format="qcow2")
    assert image_file(tmp_path / "library", "one").read_bytes()[: 2 * PART] == raw.read_bytes()
    refused(tmp_path / "other", ",".join(map(str, paths[:-1])), "qemu-img check finds errors")
    refused(tmp_path / "other", str(paths[-1]), "it is a raw image, not a qcow2 image", format="qcow2")


def test_parts_that_are_no_plain_files_are_refused(tmp_path: Path, disk: bytes) -> None:
    library = tmp_path / "library"
    paths = split(tmp_path / "parts", disk)
    first, second = str(paths[0]), str(paths[1])
    refused(library, f"{first},{first}", "the same part is given twice")
    refused(library, f"{first},,{second}", "an empty name between its commas")
    refused(library, f"{first},absent", "absent: No such file")
    refused(library, f"{first},/dev/zero", "/dev/zero: it is not a file")
    refused(library, f"{first},{tmp_path}", "it is not a file")
    (tmp_path / "parts" / "part-b").mkdir()
    refused(library, str(tmp_path / "parts"), "are not of one length")
    (tmp_path / "parts" / "part-b").rename(tmp_path / "parts" / "part-zz")
    refused(library, str(tmp_path / "parts"), "part-zz: it is not a file")
    (tmp_path / "parts" / "part-zz").rmdir()
    (tmp_path / "parts" / "part-zz").symlink_to("/etc/passwd")
    refused(library, str(tmp_path / "parts"), "part-zz: it is a symbolic link")
    (tmp_path / "parts" / "part-zz").unlink()
    os.mkfifo(tmp_path / "parts" / "part-zz")
    refused(library, str(tmp_path / "parts"), "part-zz: it is not a file")
    (tmp_path / "link").symlink_to(tmp_path / "parts")
    refused(library, str(tmp_path / "link"), "it is a symbolic link")
    (tmp_path / "none").mkdir()
    refused(library, str(tmp_path / "none"), "has no parts of an image")


def test_a_part_that_is_cut_off_is_noticed_by_its_length(tmp_path: Path, disk: bytes) -> None:
    """Unless a checksum says that the parts are right."""
    library = tmp_path / "library"
    paths = split(tmp_path / "parts", disk)
    text, whole = str(tmp_path / "parts"), paths[1].read_bytes()
    paths[1].write_bytes(whole[:-1])
    refused(library, text, r"part-ab has 1234566 bytes, and .*part-aa has 1234567: one may not be whole")
    refused(library, text, "its SHA-256 is", checksum=hashlib.sha256(disk).hexdigest())
    paths[1].write_bytes(b"")
    refused(library, text, "part-ab is empty")
    paths[1].write_bytes(whole)
    refused(library, f"{paths[-1]},{paths[0].name}", "or the order is wrong")
    paths[0].write_bytes(whole[:100])
    right = hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()
    assert joined(library, text, checksum=right).source_digest == right


def test_each_part_is_compared_with_its_own_checksum(tmp_path: Path, disk: bytes) -> None:
    """Parts of any lengths; one that is damaged is named."""
    library = tmp_path / "library"
    paths = split(tmp_path / "parts", disk)
    paths[0].write_bytes(paths[0].read_bytes()[:100])
    right = tuple(hashlib.sha256(path.read_bytes()).hexdigest() for path in paths)
    content = paths[1].read_bytes()
    paths[1].write_bytes(b"damage" + content[6:])
    refused(library, str(tmp_path / "parts"), "the SHA-256 of its part .*part-ab is ", part_checksums=right)
    paths[1].write_bytes(content)
    joined(library, str(tmp_path / "parts"), part_checksums=right)
    expected = b"".join(path.read_bytes() for path in paths)
    assert image_file(library, "one").read_bytes()[: len(expected)] == expected


def test_parts_of_a_bomb_are_refused(tmp_path: Path) -> None:
    content = 10 * gzip.compress(bytes(110_000_000), 1)
    middle = len(content) // 2 + 1
    for name, part in (("a", content[:middle]), ("b", content[middle:])):
        (tmp_path / name).write_bytes(part)
    refused(tmp_path / "library", f"{tmp_path / 'a'},b", "more than 1.0 GB")


@pytest.mark.skipif(os.geteuid() != 0, reason="files of another user are made by root")
def test_no_link_of_another_user_is_followed_on_the_way(tmp_path: Path, disk: bytes) -> None:
    """Root imports what a person has in a folder of his own; a folder above the parts is replaced by a link."""
    library, own = tmp_path / "library", tmp_path / "own"
    own.mkdir()
    paths = split(own / "parts", disk)
    secret = tmp_path / "secret"
    (secret / "parts").mkdir(parents=True)
    for path in paths:
        (secret / "parts" / path.name).write_bytes(b"of another" * 1000)
    (tmp_path / "link").symlink_to("own")
    joined(tmp_path / "first", str(tmp_path / "link/parts"))  # a link of root is followed
    for name, target in (("link", secret), ("again", tmp_path / "link")):
        (tmp_path / name).unlink(missing_ok=True)
        (tmp_path / name).symlink_to(target)
        os.chown(tmp_path / "link", 12345, 12345, follow_symlinks=False)
        for text in ("parts", "parts/part-aa", "parts/../parts"):
            refused(
                library,
                str(tmp_path / name / text),
                "/link is a symbolic link of another user; give its target",
            )
    (tmp_path / "round").symlink_to("round")
    refused(library, str(tmp_path / "round/parts"), "symbolic link")


@pytest.mark.skipif(os.geteuid() != 0, reason="files of another user are made by root")
def test_a_folder_that_is_replaced_after_it_was_read_is_not_followed(tmp_path: Path, disk: bytes) -> None:
    """Between the names of the parts and their content a link takes the folder's place."""
    library, folder = tmp_path / "library", tmp_path / "parts"
    split(folder, disk)
    paths = find_parts(str(folder))
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    os.chown(folder, 12345, 12345, follow_symlinks=False)
    with pytest.raises(UserError, match="is a symbolic link of another user"):
        import_image(library, ImportRequest("one", paths, 1), lambda line: None)
