"""The roll mpi: its ISO is added and enabled, and computes get MPI, the frontend does not."""

import shutil
from pathlib import Path

import pytest

from rocks.install.rolls.iso import create_roll
from tests.debs import make_deb
from tests.system.commands.conftest import Site
from tests.unit.docs.pages import CHECKOUT

_PACKAGES = {"openmpi-bin", "python3-mpi4py", "openssh-client"}


def test_computes_get_mpi_and_the_frontend_does_not(roll_site: Site, tmp_path: Path) -> None:
    if shutil.which("xorriso") is None:
        pytest.skip("xorriso is not installed")
    sources = tmp_path / "mpi"
    shutil.copytree(CHECKOUT / "roll/mpi", sources)
    for name in _PACKAGES:
        make_deb(sources / "packages", name)
    iso = create_roll(sources / "roll-mpi.xml", tmp_path)
    assert roll_site.rocks("add", "roll", str(iso)).status == 0
    roll_site.done("add host head membership=Frontend rack=0 rank=0")
    roll_site.done("set attr Kickstart_PrivateHostname head")
    roll_site.done("add host compute-0-0")
    roll_site.done("enable roll mpi")
    for host, expected in (("compute-0-0", _PACKAGES), ("head", set())):
        printed = set(roll_site.done("report", "host", "profile", host).split())
        assert _PACKAGES & printed == expected, host
