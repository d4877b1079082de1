"""The operator's guide: the images of its section 7, typed as printed, with a NAS's daemon over simulated pools."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest

from rocks.core.process import run_checked
from rocks.storage import configuration
from tests.system.commands.conftest import rocks, silent_hosts, site, vm_site
from tests.system.imgstorage.image_site import NAS
from tests.system.imgstorage.storage_site import Storage, certified, daemons, storage
from tests.unit.docs.pages import operator_blocks

__all__ = ["certified", "daemons", "rocks", "silent_hosts", "site", "storage", "vm_site"]

CONTENT = os.urandom(1 << 20)


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    """The image of the page, in the folder that takes the place of /root."""
    raw = tmp_path / "golden.raw"
    raw.write_bytes(CONTENT)
    run_checked(
        ["qemu-img", "convert", "-O", "qcow2", str(raw), str(tmp_path / "golden.qcow2")], deadline_seconds=60
    )
    return tmp_path


def test_an_image_is_imported_and_each_machine_gets_a_clone(
    storage: Storage, golden: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(configuration, "STREAM_PORT", storage.images.nas.stream_port)
    monkeypatch.setattr(configuration, "storage_address", lambda name, network: "127.0.0.1")
    (block,) = operator_blocks(7)
    for line in block.splitlines():
        ended = storage.rocks(*shlex.split(line.replace("/root/", f"{golden}/"))[1:])
        assert ended.status == 0, (line, ended)
    listed = storage.done("list", "host", "storagemap", NAS)
    for volume in ("golden-vol", "vc1-vol", "vm-vc1-0-vol", "vm-vc1-1-vol"):
        assert f"{volume} " in listed
        assert storage.images.nas.pools.read(f"tank/{volume}", len(CONTENT)) == CONTENT
