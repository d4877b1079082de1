"""A site whose daemons the test drives step by step."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.unit.storage.daemons.driven_site import DrivenSite


@pytest.fixture
def new_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], DrivenSite]]:
    """Creates sites, each with new disks; their daemons are not started."""
    made: list[DrivenSite] = []

    def new() -> DrivenSite:
        made.append(DrivenSite(tmp_path / str(len(made)), monkeypatch))
        return made[-1]

    yield new
    for node in (node for site in made for node in site.nodes.values()):
        node.die()


@pytest.fixture
def site(new_site: Callable[[], DrivenSite]) -> DrivenSite:
    """A site with all daemons running and no image."""
    made = new_site()
    made.start()
    return made


@pytest.fixture
def nothing_left(site: DrivenSite) -> Iterator[None]:
    """Checks after a test that no device, target, hold or volume is left behind."""
    yield
    assert site.leftovers() == []
