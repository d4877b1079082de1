"""What a host reports of its images, as the operator reads it."""

from __future__ import annotations

from typing import Any

import pytest

from rocks.fleet.wire.requests import UNREADABLE, ImageChange, ImageFact
from rocks.machine import images as host_images
from tests.unit.machines import machine


class NoDatabase:
    """A database of which only the end of a transaction is used."""

    def commit(self) -> None:
        """Nothing."""


@pytest.mark.parametrize(
    ("owner", "machine"),
    [("u-1", "web"), ("u-2", "removed"), ("", "nobody"), (UNREADABLE, "unknown")],
)
def test_the_machine_of_an_image(owner: str, machine: str) -> None:
    row = host_images._row("vmc-0-0", ImageFact("/i/x.vda", owner, 1, 1, False), {"u-1": "web"})
    assert row.machine == machine


@pytest.mark.parametrize(("changed", "removed"), [(True, ["vmc-0-0:/i/web.vda"]), (False, [])])
def test_a_disk_that_was_not_there_is_not_removed(
    changed: bool, removed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    vm = machine("web", disks=["file:/i/web.vda,vda,virtio"])
    monkeypatch.setattr(host_images, "_ask", lambda *_: ImageChange(changed))
    database: Any = NoDatabase()
    assert host_images.remove_disks(database, [vm], {"web": "vmc-0-0"}) == (removed, [])
