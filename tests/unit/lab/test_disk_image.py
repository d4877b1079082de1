"""The disk's first sector, and what the disk contains for the guest."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from lab.guest import disk_image, image
from rocks.errors import StateError, UserError


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
