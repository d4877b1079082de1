"""The libvirts on which the cases beside this file run."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rocks.fleet.wire.requests import DiskSpec
from rocks.machine.host.disks import ensure_disk
from rocks.machine.host.files import ImageOwners
from tests.contract.machine.libvirt.world import World
from tests.fakes.libvirt import FakeDomains


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.system)])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """A libvirt without domains and a blank image; whatever a case leaves is taken away."""
    if request.param == "real":
        pytest.importorskip("libvirt", reason="the distribution's libvirt bindings are not installed")
    # not tmp_path: QEMU's unprivileged user could not pass through its folders
    folder = Path(tempfile.mkdtemp(prefix="rocks-image-", dir="/tmp"))
    folder.chmod(0o711)
    if request.param == "real":
        from rocks.machine.host.libvirt.domains import Domains

        made = World(Domains(request.getfixturevalue("libvirt_uri")), folder)
    else:
        made = World(FakeDomains(), folder)
    ensure_disk(DiskSpec(str(made.image), "raw", 1, False), ImageOwners(made.image.parent / "state"))
    try:
        yield made
    finally:
        for fact in made.domains.facts():
            made.domains.destroy(fact.name)
            made.domains.erase(fact.name)
        made.domains.close()
        shutil.rmtree(folder)
