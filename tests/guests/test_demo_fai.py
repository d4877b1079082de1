"""`make demo-fai`: FAI installs both computes of a cluster from one ISO, and MPI runs on them."""

from pathlib import Path

import pytest

from lab.demos.fai import COMPUTES, DemoFai
from lab.site import Site
from tests.guests.test_demo_cluster import machines_folder, run_demo, site

__all__ = ["machines_folder", "site"]

pytestmark = pytest.mark.guests


def test_mpi_runs_on_computes_that_fai_has_installed(site: Site, tmp_path: Path) -> None:
    lines = run_demo(site, tmp_path, DemoFai)
    for number, name in enumerate(COMPUTES):
        assert f"  Hello, World! I am process {number} of 2 on {name}." in lines
    assert "Error" not in "\n".join(lines)
