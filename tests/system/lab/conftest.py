"""What tests of the lab share: a folder for machines, and what must hold when all of them have stopped."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import links, mount_points
from lab.namespace import FOLDERS, Machine

CHECKOUT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def as_root() -> None:
    """Mount namespaces are root's business."""
    if os.geteuid() != 0:
        pytest.skip("machines of the lab are mount namespaces, which needs root")


@pytest.fixture
def machines_folder() -> Iterator[Path]:
    """A folder for state folders: below one that only root may enter, with blanks, and deep."""
    top = Path(tempfile.mkdtemp(prefix="rocks lab "))  # mode 0700, as /root has
    folder = top / ("a folder whose path is longer than a socket's may be " + "x" * 60)
    folder.mkdir()
    yield folder
    assert not list(folder.iterdir()) or not _alive(folder), "a test left a machine behind"
    shutil.rmtree(top)


@pytest.fixture
def machine(machines_folder: Path) -> Iterator[Machine]:
    """A machine that does not run yet; stopped afterwards whatever happened to it."""
    machine = Machine(machines_folder / "machine")
    machine.folder.mkdir()
    yield machine
    machine.stop()
    assert_nothing_is_left(machine)


@pytest.fixture
def bridge(machines_folder: Path) -> Iterator[str]:
    """A bridge without uplink, called by a name that was free."""
    mark = links.mark_of(machines_folder)
    name = links.choose_names(links.read_links(), ["rockstest"], mark)[0]
    links.ensure_bridge(name, mark)
    yield name
    links.remove_links(mark)
    assert all(link.alias != mark for link in links.read_links())


def assert_nothing_is_left(machine: Machine) -> None:
    """No process, and no mount point that nobody uses; other machines may run meanwhile."""
    assert machine.members() == [] and not machine.is_running()
    with mount_points.held():
        assert mount_points.remove_unused(Path(place) for place in FOLDERS) == []


def _alive(folder: Path) -> bool:
    return any(Machine(state).members() for state in folder.iterdir())
