"""Records of the images that a host has: written by its image daemon, read by its agent."""

from dataclasses import replace
from pathlib import Path

import pytest

from rocks.storage.host.service import MappedRecords
from rocks.storage.image.image import HostImage, Stage
from rocks.storage.mapped_volumes import MappedImage, mapped_images
from rocks.storage.store.host import CopyRecord

DETAILS = {"nas": "nas-0-0", "address": "10.0.0.1", "portal_port": 3260}
MAPPER = "/dev/mapper/a-vol-snap"
BY_PATH = "/dev/disk/by-path/ip-10.0.0.1:3260-iscsi-iqn.nas:a-vol.5-lun-0"


def copy_of(name: str, stage: Stage, epoch: int = 5) -> CopyRecord:
    known = replace(HostImage(f"{name}-vol"), stage=stage, epoch=epoch, target=f"iqn.nas:{name}-vol.{epoch}")
    return CopyRecord(f"id-{name}", known, DETAILS)


@pytest.mark.parametrize(
    ("stage", "device"),
    [("overlay", MAPPER), ("merging", MAPPER), ("linear", MAPPER), ("remote", BY_PATH), ("none", None)],
)
def test_the_agent_reads_what_the_host_has(tmp_path: Path, stage: Stage, device: str | None) -> None:
    """The device, the image and the epoch; nothing for a copy that no guest uses."""
    assert mapped_images(tmp_path) == {}
    records = MappedRecords(tmp_path / "imgstorage/mapped")
    records.write(copy_of("a", "linear", 4))
    records.write(copy_of("a", stage))
    assert mapped_images(tmp_path) == ({device: MappedImage(device, "id-a", 5)} if device else {})


def test_a_daemon_that_starts_writes_what_it_knows_and_nothing_else(tmp_path: Path) -> None:
    """It may have been killed between a record and its database."""
    records = MappedRecords(tmp_path / "imgstorage/mapped")
    for name in ("a", "b", "c"):
        records.write(copy_of(name, "linear", 4))
    records.write_all([copy_of("a", "merging"), copy_of("b", "none")])
    assert mapped_images(tmp_path) == {MAPPER: MappedImage(MAPPER, "id-a", 5)}
