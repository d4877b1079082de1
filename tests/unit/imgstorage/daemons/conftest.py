"""A site that the test drives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.unit.imgstorage.daemons.driven_site import DrivenSite


@pytest.fixture
def new_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], DrivenSite]]:
    """Sites of which each has new disks; their daemons are not started."""
    made: list[DrivenSite] = []

    def new() -> DrivenSite:
        made.append(DrivenSite(tmp_path / str(len(made)), monkeypatch))
        return made[-1]

    yield new
    for node in (node for site in made for node in site.nodes.values()):
        node.die()


@pytest.fixture
def site(new_site: Callable[[], DrivenSite]) -> DrivenSite:
    """All daemons running, no image."""
    made = new_site()
    made.start()
    return made
