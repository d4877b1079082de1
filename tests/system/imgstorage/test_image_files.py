"""Files that an operator brings in, read by the real qemu-img: in the stated format, and only complete ones."""

import os
from pathlib import Path

import pytest

from rocks.core import process
from rocks.core.errors import StateError, UserError
from rocks.core.process import run_checked
from rocks.library.conversion import write_raw
from rocks.storage.volumes.image_files import ImageFile, as_raw, read_image_file

_SIZE = 5 * 1024 * 1024


def make(*arguments: str) -> None:
    """Run qemu-img."""
    run_checked(["qemu-img", *arguments], deadline_seconds=60)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A raw image with a hole."""
    path = tmp_path / "image.raw"
    with path.open("wb") as file:
        file.write(os.urandom(100_000))
        file.seek(3_000_000)
        file.write(os.urandom(100_000))
        file.truncate(_SIZE)
    return path


def test_qcow2_file_is_read_as_its_content(raw: Path, tmp_path: Path) -> None:
    """The same bytes and the same size as the raw file that it was made of; nothing is left beside it."""
    file = tmp_path / "image.qcow2"
    make("convert", "-f", "raw", "-O", "qcow2", "-c", str(raw), str(file))
    with as_raw(read_image_file(str(file), "")) as (content, size):
        assert size == _SIZE
        assert content.read() == raw.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["image.qcow2", "image.raw"]


def test_a_qcow2_file_that_is_cut_off_is_refused(raw: Path, tmp_path: Path) -> None:
    """qemu-img would convert it, and read what is missing as zeros."""
    file = tmp_path / "image.qcow2"
    make("convert", "-f", "raw", "-O", "qcow2", str(raw), str(file))
    os.truncate(file, file.stat().st_size - 70_000)
    with (
        pytest.raises(
            UserError, match="is not imported: qemu-img check finds errors in it; it may be cut off"
        ),
        as_raw(read_image_file(str(file), "")),
    ):
        pass


def test_file_that_refers_to_another_is_refused(raw: Path, tmp_path: Path) -> None:
    """A backing file, or a data file: the author of the image would choose which of our files is read."""
    file = tmp_path / "evil.qcow2"
    make("create", "-q", "-f", "qcow2", "-b", str(raw), "-F", "raw", str(file))
    with pytest.raises(StateError, match="refers to another file"), as_raw(read_image_file(str(file), "")):
        pass
    data = tmp_path / "data.qcow2"
    make("create", "-q", "-f", "qcow2", "-o", f"data_file={tmp_path / 'x'},data_file_raw=on", str(data), "1M")
    with pytest.raises(StateError, match="refers to another file"), as_raw(read_image_file(str(data), "")):
        pass


def test_format_is_the_requested_one_and_is_never_guessed_from_the_content(raw: Path, tmp_path: Path) -> None:
    """A raw file whose guest has written a qcow2 header stays raw when format=raw is given; a raw file called qcow2 is
    refused."""
    disguised = tmp_path / "disguised.raw"
    make("create", "-q", "-f", "qcow2", "-b", str(raw), "-F", "raw", str(disguised))
    with as_raw(read_image_file(str(disguised), "raw")) as (content, size):
        assert content.read() == disguised.read_bytes()
        assert size == disguised.stat().st_size
    with pytest.raises(UserError, match="is not a qcow2 file"), as_raw(ImageFile(raw, "qcow2")):
        pass


@pytest.mark.parametrize("name", ["cloud.img", "cloud.raw"])
@pytest.mark.parametrize(
    ("format_", "remedy"),
    [
        ("qcow2", "Give format=qcow2, or"),
        ("vmdk", "(qemu-img convert -f vmdk -O qcow2) and give format=qcow2"),
        ("vhdx", "(qemu-img convert -f vhdx -O qcow2) and"),
        ("vdi", "(qemu-img convert -f vdi -O qcow2) and"),
        ("qed", "(qemu-img convert -f qed -O qcow2) and"),
        ("vpc", "(qemu-img convert -f vpc -O qcow2) and"),
    ],
)
def test_file_that_is_named_as_raw_and_looks_like_something_else_is_refused(
    tmp_path: Path, name: str, format_: str, remedy: str
) -> None:
    """Cloud images in qcow2 are called .img: as raw bytes no machine boots from them."""
    file = tmp_path / name
    make("create", "-q", "-f", format_, str(file), "10M")
    with pytest.raises(UserError) as refusal:
        read_image_file(str(file), "")
    message = str(refusal.value)
    name_of = {"qcow2": "qcow2", "vpc": "VHD"}
    assert f"{file} looks like {name_of.get(format_, format_.upper())}, but" in message
    assert "give format=raw if" in message and remedy in message
    assert read_image_file(str(file), "raw") == ImageFile(file, "raw")
    assert read_image_file(str(file), "qcow2") == ImageFile(file, "qcow2")


def test_vmdk_that_is_a_text_is_seen_as_well(tmp_path: Path) -> None:
    """Its extents are files of their own."""
    file = tmp_path / "disk.img"
    make("create", "-q", "-f", "vmdk", "-o", "subformat=monolithicFlat", str(file), "10M")
    with pytest.raises(UserError, match="looks like VMDK"):
        read_image_file(str(file), "")


def test_a_file_that_others_can_change_is_not_converted(raw: Path, tmp_path: Path) -> None:
    """qemu-img reads it twice by its name: in between its owner would choose which of our files is read."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    file = folder / "image.qcow2"
    make("convert", "-f", "raw", "-O", "qcow2", str(raw), str(file))
    for place, mode, owner in (
        (folder, 0o777, 0),
        (folder, 0o755, 1000),
        (file, 0o666, 0),
        (file, 0o644, 1000),
    ):
        place.chmod(mode)
        os.chown(place, owner, owner)
        with (
            pytest.raises(UserError, match=f"other users can change {place}"),
            as_raw(ImageFile(file, "qcow2")),
        ):
            pass
        place.chmod(0o755)
        os.chown(place, 0, 0)
    with as_raw(ImageFile(file, "qcow2")) as (content, _):
        assert content.read() == raw.read_bytes()


def test_a_link_in_the_place_of_a_raw_file_is_not_followed(raw: Path, tmp_path: Path) -> None:
    """Its owner could point it to any file of this machine after the command was typed."""
    link = tmp_path / "link.raw"
    link.symlink_to(raw)
    with (
        pytest.raises(UserError, match="it is a symbolic link; give its target"),
        as_raw(ImageFile(link, "raw")),
    ):
        pass


def test_conversion_reports_its_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a terminal it would else be silent for hours."""
    monkeypatch.setattr(process, "_WATCH_SECONDS", 0.01)
    whole, file = tmp_path / "whole.raw", tmp_path / "whole.qcow2"
    with whole.open("wb") as target:
        for _ in range(64):
            target.write(os.urandom(2**20))
    make("convert", "-f", "raw", "-O", "qcow2", "-c", str(whole), str(file))
    seen: list[float] = []
    with as_raw(read_image_file(str(file), ""), seen.append) as (content, size):
        assert content.read() == whole.read_bytes()
        assert size == 64 * 2**20
    assert seen and seen == sorted(seen) and 0 <= seen[0] <= seen[-1] <= 100


def test_a_conversion_is_bounded_and_a_damaged_table_is_refused(tmp_path: Path) -> None:
    """A table of the file names clusters that it does not have."""
    whole, file = tmp_path / "whole.raw", tmp_path / "whole.qcow2"
    whole.write_bytes(os.urandom(2**20))
    make("convert", "-f", "raw", "-O", "qcow2", str(whole), str(file))
    done = write_raw(file, tmp_path / "raw", 2**16, lambda percent: None)
    assert done.arguments[0] == "prlimit" and done.exit_status != 0, "it writes no more than was allowed"
    with file.open("r+b") as damaged:
        damaged.seek(40)  # in the header: where the first table of clusters begins
        damaged.seek(int.from_bytes(damaged.read(8), "big"))
        damaged.write(b"\xff" * 8)
    with (
        pytest.raises(UserError, match="is not imported: qemu-img check finds errors in it"),
        as_raw(ImageFile(file, "qcow2")),
    ):
        pass


@pytest.mark.parametrize(
    ("name", "stated", "message"),
    [
        ("nothing.raw", "", "is not a file"),
        (".", "raw", "is not a file"),
        ("image.vmdk", "", "give format=raw or format=qcow2"),
        ("image.raw", "vmdk", "give format=raw or format=qcow2"),
    ],
)
def test_arguments_that_are_no_file(tmp_path: Path, name: str, stated: str, message: str) -> None:
    """One sentence, with what is possible."""
    for existing in ("image.vmdk", "image.raw"):
        (tmp_path / existing).write_bytes(b"x")
    with pytest.raises(UserError, match=message):
        read_image_file(str(tmp_path / name), stated)


def test_empty_file(tmp_path: Path) -> None:
    """There is no image of no size."""
    (tmp_path / "empty.img").touch()
    with pytest.raises(UserError, match="is empty"), as_raw(read_image_file(str(tmp_path / "empty.img"), "")):
        pass
