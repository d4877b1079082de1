"""Clones on a NAS, without a broker: what is made, what is left alone, and the snapshots that they are made of."""

from __future__ import annotations

from typing import Any, cast

import pytest

from rocks.devices.zfs.fake.pools import FakePools
from rocks.errors import StateError, UserError
from rocks.imgstorage.life.image import Image
from rocks.imgstorage.nas.clones import Clones
from rocks.imgstorage.nas.engine import Engine
from rocks.imgstorage.nas.imports import Imports
from rocks.wire.image_bases import SNAPSHOT, base_snapshot, base_volume
from rocks.wire.imgstorage import CloneZvols, FreezeZvols, NewClone

DIGEST = "a" * 64
SIZE = 2**20


class Records:
    """The images that the NAS knows."""

    def __init__(self) -> None:
        self.known: dict[str, Image] = {}

    def image_of(self, zvol: str) -> Image | None:
        """The image of that name."""
        return self.known.get(zvol)

    def image(self, image_id: str) -> Image | None:
        """The image with that id."""
        return next((image for image in self.known.values() if image.image_id == image_id), None)

    def add(self, image: Image) -> None:
        """A new one."""
        self.known[image.zvol] = image


class Nas:
    """A pool with a base, and what makes clones in it."""

    def __init__(self) -> None:
        self.pools, self.records = FakePools(), Records()
        engine = cast("Engine", self.records)
        self.clones = Clones(self.pools, engine, Imports(self.pools, engine, "head"), "nas-0-0")
        self.make(base_volume(DIGEST), SNAPSHOT)

    def make(self, zvol: str, snapshot: str = "") -> str:
        """A volume with its name as its content; returns its guid."""
        name = f"tank/{zvol}"
        self.pools.ensure_volume(name, SIZE, 16384)
        self.pools.write(name, zvol.encode())
        fact = self.pools.read_volume(name)
        assert fact is not None
        if snapshot:
            self.pools.ensure_snapshot(name, fact.guid, snapshot, {})
        return fact.guid

    def clone(self, *names: str, origin: str = base_snapshot(DIGEST), **more: Any) -> dict[str, Any]:
        """The answer to a request for these clones."""
        new = tuple(NewClone(name, origin, 2 * SIZE) for name in names)
        return dict(self.clones.clone(CloneZvols("tank", new, **more)))


@pytest.fixture
def nas() -> Nas:
    """With an empty list of images."""
    return Nas()


def test_clones_are_made_once(nas: Nas) -> None:
    """With their sizes and records; what exists is left alone, also what is no clone."""
    nas.make("own-vol")
    assert nas.clone("a-vol", "own-vol") == {"made": ["a-vol"], "present": ["own-vol"], "missing": []}
    assert nas.clone("a-vol") == {"made": [], "present": ["a-vol"], "missing": []}
    fact, own = nas.pools.read_volume("tank/a-vol"), nas.pools.read_volume("tank/own-vol")
    assert fact is not None and fact.size_bytes == 2 * SIZE
    assert own is not None and own.size_bytes == SIZE
    assert set(nas.records.known) == {"a-vol", "own-vol"}
    assert nas.clone("b-vol", origin=base_snapshot("b" * 64))["missing"] == ["b-vol"]
    with pytest.raises(UserError, match="base of an image"):
        nas.clone(base_volume("b" * 64))


def test_an_image_whose_volume_is_lost_is_not_made_anew(nas: Nas) -> None:
    """A host had it: the volume is looked for; one that was only listed, and never mapped, is made."""
    nas.records.add(Image("one", "nas-0-0", "tank", "lost-vol", volume_guid="77"))
    nas.records.add(Image("two", "nas-0-0", "tank", "new-vol"))
    answer = nas.clone("lost-vol", "new-vol")
    assert (answer["made"], answer["missing"]) == (["new-vol"], [])
    assert nas.pools.read_volume("tank/lost-vol") is None


def test_a_disk_is_frozen_as_it_is_now(nas: Nas) -> None:
    """A snapshot is used again until something is written, also within one second."""
    nas.make("model-vol")

    def freeze() -> str:
        (name,) = nas.clones.freeze(FreezeZvols("tank", ("model-vol",)))["body"].values()
        return str(name)

    first = freeze()
    assert freeze() == first
    nas.pools.write("tank/model-vol", b"later")
    second = freeze()
    assert second != first
    assert nas.pools.read(f"tank/model-vol@{second}", 5) == b"later"
    nas.records.known["model-vol"] = Image(
        "m", "nas-0-0", "tank", "model-vol", state="local", owner="vmc-0-0"
    )
    with pytest.raises(StateError, match="model-vol is local on vmc-0-0"):
        freeze()
    with pytest.raises(StateError, match="has no image other-vol"):
        nas.clones.freeze(FreezeZvols("tank", ("other-vol",)))


def test_only_clones_that_nobody_used_are_made_anew(nas: Nas) -> None:
    """Of an earlier snapshot of the same disk, and without a write; anything else is named and stays."""
    guid = nas.make("model-vol", "one")
    nas.pools.write("tank/model-vol", b"later")
    nas.pools.ensure_snapshot("tank/model-vol", guid, "two", {})
    nas.clone("free-vol", "used-vol", origin="model-vol@one")
    assert nas.clone("free-vol", origin="model-vol@one", replaces=True)["present"] == ["free-vol"]
    nas.pools.write("tank/used-vol", b"mine")
    with pytest.raises(StateError, match="used-vol exists already"):
        nas.clone("used-vol", origin="model-vol@two", replaces=True)
    small = CloneZvols("tank", (NewClone("left-vol", "model-vol@one"),))
    assert nas.clones.clone(small)["made"] == ["left-vol"]
    anew = CloneZvols("tank", (NewClone("left-vol", "model-vol@two"),), replaces=True)
    assert nas.clones.clone(anew)["made"] == ["left-vol"]
    assert nas.pools.read("tank/left-vol", 5) == b"later"
