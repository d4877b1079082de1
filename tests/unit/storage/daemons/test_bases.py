"""Bases of images and their clones on a NAS, as a frontend asks for them: what is made, and what is refused."""

from pathlib import Path

import pytest

from rocks.core.errors import StateError, UserError
from rocks.storage.wire import requests as wire
from tests.unit.storage.daemons.driven_site import DrivenSite
from tests.unit.storage.daemons.lives import MIB, VOLUME, ZVOL, cloned


@pytest.fixture
def base(site: DrivenSite, tmp_path: Path) -> str:
    """The name of a base, of which the disk of a machine that has run is a clone."""
    cloned(site, tmp_path)
    disk = site.nas.pools.read_volume(VOLUME)
    assert disk is not None and disk.origin is not None
    return str(disk.origin).removeprefix("tank/").removesuffix("@base")


def size_of(site: DrivenSite, zvol: str) -> int:
    fact = site.nas.pools.read_volume(f"tank/{zvol}")
    return int(fact.size_bytes)


def test_a_base_is_no_image(site: DrivenSite, base: str) -> None:
    """It is not mapped, and nothing else gets its name."""
    with pytest.raises(UserError, match="is not mapped"):
        site.map(base)
    for request in (
        wire.AddZvol("tank", base, 2**20),
        wire.CloneZvols("tank", (wire.NewClone(base, f"{base}@base"),)),
    ):
        with pytest.raises(UserError, match="give another"):
            site.ask(request)
    with pytest.raises(OSError, match="read only"):
        site.nas.pools.write(f"tank/{base}", b"x")
    assert base not in {row["zvol"] for row in site.rows()}


def test_a_base_needs_a_digest_and_a_clone_its_pool_and_origin(site: DrivenSite) -> None:
    """Nothing is made for a request that is refused."""
    with pytest.raises(UserError, match="not the digest"):
        site.ask(wire.AddBase("tank", "../x", 2**20, 0, "x"))
    with pytest.raises(StateError, match="nopool"):
        site.ask(wire.CloneZvols("nopool", (wire.NewClone("a"),)))
    assert site.ask(wire.CloneZvols("tank", (wire.NewClone("a"),)))["missing"] == ["a"]
    assert site.nas.pools.list_volumes("tank") == ()


def test_a_clone_that_was_left_small_grows(site: DrivenSite, base: str) -> None:
    """A daemon may be killed between the clone and its size; a disk that a host has had keeps its size."""

    def clone(name: str, size_bytes: int) -> list[str]:
        new = wire.NewClone(name, f"{base}@base", size_bytes)
        return list(site.ask(wire.CloneZvols("tank", (new,)))["made"])

    assert (clone("late-vol", 0), clone("late-vol", 4 * MIB)) == (["late-vol"], [])
    assert size_of(site, "late-vol") == 4 * MIB
    before = size_of(site, ZVOL)
    assert clone(ZVOL, 2 * before) == [] and size_of(site, ZVOL) == before
