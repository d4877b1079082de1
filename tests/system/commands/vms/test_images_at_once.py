"""An image is removed while a cluster is added from it: one of the two commands wins."""

from pathlib import Path
from typing import Any

import pytest

from rocks.cluster import clusters
from rocks.cluster.images import ClusterImages
from tests.system.commands.conftest import Site
from tests.system.commands.test_at_once import ends, processes, start

__all__ = ["processes"]

CLUSTER = ("fe-container=vmc-0-0", "container-hosts=vmc-0-1")
ROUNDS = 6


@pytest.fixture
def disk(vm_site: Site, tmp_path: Path) -> Path:
    """A file that can be an image, on a site with an empty library."""
    vm_site.done("set attr image_library", str(tmp_path / "library"))
    file = tmp_path / "disk"
    file.write_bytes(b"boot".ljust(512, b"\0"))
    return file


def missing_images(site: Site) -> set[str]:
    """Images that machines are to be made from, and that the library does not have."""
    site.database.end_reading()
    used = {
        str(value) for (value,) in site.database.rows("SELECT Value FROM attributes WHERE Attr = 'vm_image'")
    }
    return used - {line.partition(":")[0] for line in site.done("list image").splitlines()}


def test_an_image_is_not_removed_under_a_cluster_that_is_being_added(
    vm_site: Site, disk: Path, processes: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The removal begins when the images of the cluster were read, and before anything of it is stored."""
    vm_site.done("add image debian", f"file={disk}")
    removals: list[tuple[int, str]] = []
    read = clusters.read_images

    def read_then_remove(*given: Any) -> ClusterImages:
        found = read(*given)
        given[0].end_reading()  # this wait is the test's, not the command's
        removals.extend(ends([start(processes, "remove", "image", "debian")]))
        return found

    monkeypatch.setattr(clusters, "read_images", read_then_remove)
    added = vm_site.rocks("add cluster 203.0.113.30 1", *CLUSTER, "fe-name=one", "image=debian")
    assert added.status == 0, added.err
    ((status, error),) = removals
    assert status == 1 and "another command is at work on library image debian" in error
    assert missing_images(vm_site) == set()
    assert "one" in vm_site.refused("remove image debian")


def test_of_a_cluster_and_the_removal_of_its_image_one_wins(
    vm_site: Site, disk: Path, processes: dict[str, str]
) -> None:
    """Both at the same moment, as processes, several times."""
    for number in range(ROUNDS):
        image, name = f"debian-{number}", f"fe-{number}"
        vm_site.done("add image", image, f"file={disk}")
        addition = (
            "add",
            "cluster",
            f"203.0.113.{40 + number}",
            "1",
            *CLUSTER,
            f"fe-name={name}",
            f"image={image}",
        )
        both = [addition, ("remove", "image", image)]
        outcomes = ends([start(processes, *line) for line in (both if number % 2 else reversed(both))])
        assert sorted(status for status, _ in outcomes) == [0, 1], outcomes
        assert all("Traceback" not in error for _, error in outcomes)
        assert missing_images(vm_site) == set()
        is_added = f"{name}:" in vm_site.done("list host")
        assert is_added == (f"{image}:" in vm_site.done("list image")), outcomes
