"""`make demo-own-cluster`: frontend and computes are installed from this roll's ISOs, and MPI runs on both computes."""

from pathlib import Path

import pytest

from lab.demos.own import COMPUTES, ISOS, DemoOwn
from lab.site import Site
from tests.guests.test_demo_cluster import machines_folder, run_demo, site
from tests.system.lab.conftest import CHECKOUT

__all__ = ["machines_folder", "site"]

pytestmark = [
    pytest.mark.guests,
    pytest.mark.skipif(
        any(len(list((CHECKOUT / "dist").glob(pattern))) != 1 for pattern in ISOS),
        reason="dist/ has not each ISO once; make frontend-iso os-roll mpi-roll builds them",
    ),
]


def test_mpi_runs_on_computes_that_their_owners_frontend_has_installed(site: Site, tmp_path: Path) -> None:
    lines = run_demo(site, tmp_path, DemoOwn)
    for number, name in enumerate(COMPUTES):
        assert f"  Hello, World! I am process {number} of 2 on {name}." in lines
    assert "Error" not in "\n".join(lines)
