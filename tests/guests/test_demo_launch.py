"""`make demo-launch`: the examples of launchers, on a compute that answers by SSH."""

from pathlib import Path

import pytest

from lab.demo import Demo
from lab.demo_launch import COMPUTE, DemoLaunch
from lab.progress import Progress
from lab.site import Site
from tests.guests.test_demo_cluster import IMAGES, KERNEL, machines_folder, site

__all__ = ["machines_folder", "site"]

pytestmark = pytest.mark.guests


def test_mpi_and_docking_run_on_a_computeset_that_ends(site: Site, tmp_path: Path) -> None:
    output: list[str] = []
    progress = Progress(output.append)
    demo = Demo(site, KERNEL, tmp_path, progress)
    DemoLaunch(site, demo, IMAGES.with_name(DemoLaunch.images), progress).run()
    lines = "\n".join(output).splitlines()
    assert f"  process 0 of 1 on {COMPUTE}" in lines
    assert [line.split()[1] for line in lines if line.startswith("  -")] == ["toluene", "phenol", "benzene"]
    assert sum(line.endswith("is ending") for line in lines) == 2
