"""`make demo-launch`: the examples of launchers, on a compute that answers by SSH."""

import re
from pathlib import Path

import pytest

from lab.demos.launch import COMPUTE, DemoLaunch
from lab.site import Site
from tests.guests.test_demo_cluster import machines_folder, run_demo, site

__all__ = ["machines_folder", "site"]

pytestmark = pytest.mark.guests


def test_mpi_and_docking_run_on_a_computeset_that_ends(site: Site, tmp_path: Path) -> None:
    lines = run_demo(site, tmp_path, DemoLaunch)
    assert f"  process 0 of 1 on {COMPUTE}" in lines
    scores = [line.split()[1] for line in lines if re.fullmatch(r"  -\d+\.\d+ [a-z]+", line)]
    assert sorted(scores) == ["benzene", "phenol", "toluene"]
    assert sum(line.endswith("is ending") for line in lines) == 2
