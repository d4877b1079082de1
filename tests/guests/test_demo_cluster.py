"""`make demo-cluster`: from an image of Debian to machines that answer by SSH, and what becomes of them after that."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.demos.cluster import CLUSTER, COMPUTE, DemoCluster
from lab.demos.demo import Demo
from lab.demos.image_demo import ImageDemo, find_image
from lab.progress import Progress
from lab.site import Site
from tests.system.lab.conftest import CHECKOUT, assert_nothing_is_left, machines_folder

__all__ = ["machines_folder"]

pytestmark = pytest.mark.guests

IMAGES = CHECKOUT / ".state" / "guest" / "debian"
KERNEL = CHECKOUT / ".state" / "guest" / "kernel"


@pytest.fixture
def site(machines_folder: Path, tmp_path: Path) -> Iterator[Site]:
    """A site that does not run; taken down afterwards."""
    site = Site(machines_folder / "demo", tmp_path / "cache")
    yield site
    site.tear_down()
    assert_nothing_is_left(site.machine)


def run_demo(site: Site, images: Path, kind: type[ImageDemo] = DemoCluster) -> list[str]:
    """The lines that it prints."""
    output: list[str] = []
    progress = Progress(output.append)
    kind(site, Demo(site, KERNEL, images, progress), IMAGES.with_name(kind.image_kind), progress).run()
    return "\n".join(output).splitlines()


def done(site: Site, *arguments: str) -> str:
    finished = site.rocks(arguments, 180)
    assert finished.exit_status == 0, finished.error_text
    return finished.text


def test_a_cluster_answers_by_ssh_and_is_removed(site: Site, tmp_path: Path) -> None:
    lines = run_demo(site, tmp_path)
    assert f"  # ssh {COMPUTE} hostname" in lines
    assert lines[lines.index(f"  # ssh {COMPUTE} hostname") + 1] == f"  {COMPUTE}"
    inside = f"  # ssh {CLUSTER} ssh -o BatchMode=yes {COMPUTE} hostname"
    assert lines[lines.index(inside) + 1].strip() == COMPUTE, "the frontend does not reach its compute"
    assert any("1 packets transmitted, 1 received" in line for line in lines), "the compute has no way out"
    assert any(line.endswith(f" {COMPUTE} compute-0-0") for line in lines)
    assert "Password" not in "\n".join(lines)

    again = run_demo(site, tmp_path)
    assert not [line for line in again if line.startswith("  # bin/rocks start")]
    assert f"  # ssh {COMPUTE} hostname" in again

    done(site, "stop", "cluster", CLUSTER)
    before = site.machine.outside(f"/var/lib/rocks-images/{COMPUTE}.vda").stat().st_ino
    run_demo(site, tmp_path)
    assert site.machine.outside(f"/var/lib/rocks-images/{COMPUTE}.vda").stat().st_ino == before

    done(site, "stop", "cluster", CLUSTER)
    done(site, "remove", "cluster", CLUSTER, "disks=remove")
    left = [path.name for path in site.machine.outside("/var/lib/rocks-images").iterdir()]
    assert left == ["library"]
    done(site, "remove", "image", find_image(IMAGES).name.rpartition("-")[0])
    assert list(site.machine.outside("/var/opt/rocks/images").iterdir()) == []
