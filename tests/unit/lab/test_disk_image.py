"""The disk's first sector, and what the disk contains for the guest."""

import io
import struct
import tarfile
from pathlib import Path

import pytest

from lab.guest import disk_image, image, kernel
from rocks.core.errors import StateError, UserError


def test_the_first_sector_names_one_active_partition() -> None:
    sector = disk_image.master_boot_record(b"\x90" * 440)
    assert len(sector) == 512 and sector.endswith(b"\x55\xaa")
    active, kind, first, count = struct.unpack("<B3xB3xII", sector[446:462])
    assert (active, kind) == (0x80, 0x0E)
    assert (first + count) * 512 == disk_image.IMAGE_BYTES
    assert sector[462:510] == bytes(48)


def test_boot_code_must_not_run_into_the_partition_table() -> None:
    with pytest.raises(StateError, match="441 bytes"):
        disk_image.master_boot_record(b"\x90" * 441)


def test_the_kernel_command_line_contains_the_guest_name() -> None:
    append = next(line for line in image.configuration("vm-a-0").splitlines() if "APPEND" in line)
    assert append.split()[-1] == "rocks_name=vm-a-0" and "console=ttyS0" in append


def test_further_arguments_follow_the_name() -> None:
    append = next(
        line for line in image.configuration("vc1", "rocks_role=frontend").splitlines() if "APPEND" in line
    )
    assert append.split()[-2:] == ["rocks_name=vc1", "rocks_role=frontend"]


@pytest.mark.parametrize("name", ["", "a b", "a\nLABEL x", 'a"b', "ä"])
def test_a_name_that_could_add_to_the_command_line_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be the name of a guest"):
        image.make_disk(tmp_path / "base", tmp_path / "disk", name, 10**9)


def test_a_disk_that_is_too_small_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at least"):
        image.make_disk(tmp_path / "base", tmp_path / "disk", "vm-a-0", disk_image.IMAGE_BYTES - 1)


def test_the_frontend_of_a_larger_disk_knows_where_its_archive_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {name: tmp_path / name for name in ("base", "vmlinuz", "system", "disk")}
    for name in ("base", "vmlinuz", "system"):
        files[name].write_bytes(name.encode() * 1000)
    passed: list[str] = []

    def make_disk(base: Path, disk: Path, name: str, size_bytes: int, parameters: str = "") -> None:
        passed.extend(parameters.split())
        disk.write_bytes(bytes(size_bytes))

    monkeypatch.setattr(kernel, "find_kernel", lambda folder: files["vmlinuz"])
    monkeypatch.setattr(kernel, "read_modules", lambda folder, image_kernel: {})
    monkeypatch.setattr(image, "make_disk", make_disk)
    image.make_frontend_disk(files["base"], tmp_path, files["disk"], "vc1", files["system"])
    disk = files["disk"].read_bytes() + b"the rest of the disk" * 1000
    first, count = (int(number) for number in passed[1].removeprefix("rocks_cargo=").split(","))
    archive = disk[first * 512 : (first + count) * 512]
    assert archive + b"the rest of the disk" * 1000 == disk[disk_image.IMAGE_BYTES :]
    with tarfile.open(fileobj=io.BytesIO(archive)) as cargo:
        assert cargo.getnames() == ["vmlinuz", "system", "initrd"]
