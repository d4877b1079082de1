"""Clones on a NAS, without a broker: what is made, what is left alone, and the snapshots that they are made of."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast
from unittest.mock import MagicMock

import pytest

from rocks.core.errors import StateError, UserError
from rocks.storage.image.image import Image
from rocks.storage.nas.bases import Clones
from rocks.storage.nas.engine import Engine, NasContext, ProgressBoard
from rocks.storage.nas.volumes import IMPORTING, Imports
from rocks.storage.store.nas import NasStore
from rocks.storage.wire.names import SNAPSHOT, base_snapshot, base_volume
from rocks.storage.wire.requests import CloneZvols, FreezeZvols, NewClone
from rocks.storage.zfs.facts import AUTOMATIC_PROPERTY
from tests.fakes.zfs import FakePools

DIGEST = "a" * 64
SIZE = 2**20


class Records:
    """The images that the NAS knows."""

    def __init__(self) -> None:
        self.known: dict[str, Image] = {}

    def image_of(self, zvol: str) -> Image | None:
        return self.known.get(zvol)

    def check_target(self, zvol: str) -> None:
        """None of these names differs in capitals only."""

    def image(self, image_id: str) -> Image | None:
        return next((image for image in self.known.values() if image.image_id == image_id), None)

    def add(self, *images: Image) -> None:
        """New ones."""
        self.known.update((image.zvol, image) for image in images)


class Nas:
    """A pool with a base, and what makes clones in it."""

    def __init__(self) -> None:
        self.pools, self.records = FakePools(), Records()
        engine = cast("Engine", self.records)
        context = NasContext(self.pools, engine, MagicMock(), ProgressBoard())
        self.clones = Clones(self.pools, engine, Imports(context, "head"), "nas-0-0")
        self.make(base_volume(DIGEST), SNAPSHOT)

    def make(self, zvol: str, snapshot: str = "") -> str:
        """A volume with its name as its content; returns its guid."""
        name = f"tank/{zvol}"
        self.pools.ensure_volume(name, SIZE, 16384)
        self.pools.write(name, zvol.encode())
        fact = self.pools.read_volume(name)
        if snapshot:
            properties = AUTOMATIC_PROPERTY if snapshot == SNAPSHOT else {}
            self.pools.ensure_snapshot(name, fact.guid, snapshot, properties)
        return fact.guid

    def rename(self, zvol: str, new: str) -> None:
        """Give a volume another name, as by hand."""
        fact = self.pools.read_volume(f"tank/{zvol}")
        self.pools.ensure_renamed(fact.name, fact.guid, f"tank/{new}")

    def clone(self, *names: str, origin: str = base_snapshot(DIGEST), **more: Any) -> dict[str, Any]:
        new = tuple(NewClone(name, origin, 2 * SIZE) for name in names)
        return dict(self.clones.clone(CloneZvols("tank", new, **more)))


@pytest.fixture
def nas() -> Nas:
    """With an empty list of images."""
    return Nas()


def test_clones_are_made_once(nas: Nas) -> None:
    """With their sizes and records; what exists is left alone, also what is no clone."""
    nas.make("own-vol")
    answer = {"made": ["a-vol"], "present": ["own-vol"], "missing": [], "refused": []}
    assert nas.clone("a-vol", "own-vol") == answer
    assert nas.clone("a-vol") == {**answer, "made": [], "present": ["a-vol"]}
    fact, own = nas.pools.read_volume("tank/a-vol"), nas.pools.read_volume("tank/own-vol")
    assert fact is not None and fact.size_bytes == 2 * SIZE
    assert own is not None and own.size_bytes == SIZE
    assert set(nas.records.known) == {"a-vol", "own-vol"}
    assert nas.clone("b-vol", origin=base_snapshot("b" * 64))["missing"] == ["b-vol"]
    with pytest.raises(UserError, match="base of an image"):
        nas.clone(base_volume("b" * 64))


def test_a_request_reads_its_own_volumes_only(nas: Nas, monkeypatch: pytest.MonkeyPatch) -> None:
    """A site has thousands: each is read by a program that takes longer with their number."""
    read: list[str] = []
    read_volumes = nas.pools.fake.read_volumes

    def counted(volumes: Sequence[str]) -> Any:
        read.extend(volumes)
        return read_volumes(volumes)

    def listed(pool: str) -> Any:
        raise AssertionError(f"all volumes of {pool} are read")

    for number in range(3):
        nas.make(f"other-{number}-vol")
    monkeypatch.setattr(nas.pools.fake, "read_volumes", counted)
    monkeypatch.setattr(nas.pools.fake, "list_volumes", listed)
    assert nas.clone("a-vol", "b-vol")["made"] == ["a-vol", "b-vol"]
    assert set(read) == {"tank/a-vol", "tank/b-vol", f"tank/{base_volume(DIGEST)}"}


def test_without_the_pool_nothing_is_missing(nas: Nas) -> None:
    nas.pools.export_pool("tank")
    with pytest.raises(StateError, match="tank"):
        nas.clone("a-vol")
    assert not nas.records.known


def test_records_of_one_request_are_all_stored_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the file, then in memory: no worker acts on an image that is not recorded, and a repetition adds them."""
    store = NasStore(tmp_path / "records")
    unused = cast("Any", None)
    engine = Engine(store, unused, unused, unused, unused, unused, unused)
    first, second = (Image(name, "nas-0-0", "tank", f"{name}-vol") for name in ("one", "two"))
    save = store.save

    def failing(image: Image) -> None:
        assert engine.image(image.image_id) is None and engine.images() == ()
        if image == second:
            raise StateError("the disk is full")
        save(image)

    with monkeypatch.context() as patch, pytest.raises(StateError, match="the disk is full"):
        patch.setattr(store, "save", failing)
        engine.add(first, second)
    assert engine.images() == () and list(store.images()) == []
    engine.add(first, second)
    assert engine.images() == (first, second) and sorted(store.images(), key=str) == [first, second]
    engine.close()
    store.close()


def test_a_clone_that_cannot_grow_leaves_the_others_with_their_records(
    nas: Nas, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All are listed; a repetition grows the rest."""
    grow = nas.pools.ensure_size

    def failing(volume: str, guid: str, size_bytes: int) -> Any:
        if volume == "tank/b-vol":
            raise StateError("the pool is full")
        return grow(volume, guid, size_bytes)

    names = ("a-vol", "b-vol", "c-vol")
    with monkeypatch.context() as patch:
        patch.setattr(nas.pools, "ensure_size", failing)
        for _ in range(2):
            with pytest.raises(StateError, match="the pool is full"):
                nas.clone(*names)
            assert set(nas.records.known) == set(names)
    assert nas.clone(*names)["present"] == list(names)
    facts = [nas.pools.read_volume(f"tank/{name}") for name in names]
    assert [fact and fact.size_bytes for fact in facts] == [2 * SIZE] * 3
    known = [nas.records.known[name].volume_guid for name in names]
    assert known == [fact and fact.guid for fact in facts]


def test_a_repetition_lists_and_grows_what_a_killed_daemon_has_cloned(
    nas: Nas, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before it has recorded the clones: they are found by their names."""

    def killed(*_: Image) -> None:
        raise SystemExit

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(nas.records, "add", killed)
        nas.clone("a-vol", "b-vol")
    assert not nas.records.known
    assert nas.clone("a-vol", "b-vol")["present"] == ["a-vol", "b-vol"]
    for name in ("a-vol", "b-vol"):
        fact = nas.pools.read_volume(f"tank/{name}")
        assert fact is not None and fact.size_bytes == 2 * SIZE
        assert nas.records.known[name].volume_guid == fact.guid


def test_one_name_with_two_origins_is_not_made(nas: Nas) -> None:
    """Neither is a disk with two sizes; the others are. The same disk twice is one."""
    nas.make("model-vol", "one")
    base = base_snapshot(DIGEST)
    ways = [
        NewClone("b-vol", base),
        NewClone("a-vol", base),
        NewClone("a-vol", base),
        NewClone("c-vol", base, SIZE),
    ]
    ways += [NewClone("b-vol", "model-vol@none"), NewClone("c-vol", base, 2 * SIZE)]
    answer = nas.clones.clone(CloneZvols("tank", tuple(ways)))
    assert (answer["made"], answer["present"], answer["missing"]) == (["a-vol"], [], [])
    assert [one["zvol"] for one in answer["refused"]] == ["b-vol", "c-vol"]
    assert all("asked for twice" in one["reason"] for one in answer["refused"])
    for origins in (("model-vol@one", base), (base, "model-vol@one")):
        twice = tuple(NewClone("d-vol", origin) for origin in origins)
        with pytest.raises(StateError, match="d-vol is asked for twice"):
            nas.clones.clone(CloneZvols("tank", twice, replaces=True))
    assert [nas.pools.read_volume(f"tank/{name}-vol") for name in "bcd"] == [None] * 3


def test_a_disk_smaller_than_its_origin_is_refused(nas: Nas) -> None:
    """Not made larger than its machine's record says; the others are made."""
    clones = (
        NewClone("small-vol", base_snapshot(DIGEST), SIZE - 1),
        NewClone("a-vol", base_snapshot(DIGEST), SIZE),
    )
    answer = nas.clones.clone(CloneZvols("tank", clones))
    ((zvol, reason),) = [(one["zvol"], one["reason"]) for one in answer["refused"]]
    assert zvol == "small-vol" and "make the disk larger, or use a smaller image" in reason
    assert answer["made"] == ["a-vol"] and nas.pools.read_volume("tank/small-vol") is None


def test_a_disk_that_no_host_has_had_is_of_the_image_that_its_machine_has_now(nas: Nas) -> None:
    """Its first start was interrupted, then its image was changed.

    A copy of another machine's disk is that of a recorded clone only.
    """
    for name in ("golden", "other"):
        nas.make(name, "now")
    nas.clone("of-image-vol")
    nas.clone("of-golden-vol", origin="golden@now")
    nas.clone("copy-vol", origin="golden@now", replaces=True)
    for zvol, origin, source, is_refused in (
        ("of-image-vol", base_snapshot(DIGEST), "", False),
        ("of-image-vol", "", "golden", True),
        ("of-golden-vol", "", "golden", False),
        ("of-golden-vol", "", "other", True),
        ("of-golden-vol", "other@now", "other", True),
        ("of-golden-vol", base_snapshot(DIGEST), "", True),
        ("of-golden-vol", "", "", False),
        ("copy-vol", base_snapshot(DIGEST), "", True),
        ("copy-vol", base_snapshot(DIGEST), "other", True),
        ("copy-vol", base_snapshot(DIGEST), "golden", False),
        ("copy-vol", "", "golden", False),
    ):
        new = (NewClone(zvol, origin, 2 * SIZE),)
        answer = nas.clones.clone(CloneZvols("tank", new, sources=(source,)))
        assert bool(answer["refused"]) is is_refused, (zvol, origin, source)
        assert answer["present"] == [zvol] * (not is_refused), (zvol, origin, source)
    fact = nas.pools.read_volume("tank/of-golden-vol")
    nas.pools.ensure_properties(fact.name, fact.guid, {"imgstore:epoch": "1", "imgstore:owner": "none"})
    assert nas.clone("of-golden-vol")["present"] == ["of-golden-vol"], (
        "a host has had it: it is the machine's"
    )
    nas.clone("promoted-vol", origin="other@now")
    promoted = nas.pools.read_volume("tank/promoted-vol")
    nas.pools.ensure_promoted(promoted.name, promoted.guid)
    assert nas.clone("promoted-vol")["present"] == ["promoted-vol"], "nobody knows what it was made from"


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


def test_a_disk_is_not_frozen_in_the_snapshot_of_another_program(nas: Nas) -> None:
    """That program removes it when it has copied the pool."""
    nas.make("model-vol", "copy")
    (name,) = nas.clones.freeze(FreezeZvols("tank", ("model-vol",)))["body"].values()
    assert [one.name for one in nas.pools.read_history("tank/model-vol").snapshots] == ["copy", name]


def test_only_clones_that_nobody_used_are_made_anew(nas: Nas) -> None:
    """Of an earlier snapshot of the same disk, and without a write; anything else is named and stays."""
    guid = nas.make("model-vol", "one")
    nas.pools.write("tank/model-vol", b"later")
    nas.pools.ensure_snapshot("tank/model-vol", guid, "two", {})
    new = tuple(NewClone(name, "model-vol@one") for name in ("free-vol", "used-vol"))
    nas.clones.clone(CloneZvols("tank", new))
    assert nas.clone("free-vol", origin="model-vol@one", replaces=True)["present"] == ["free-vol"]
    nas.pools.write("tank/used-vol", b"mine")
    with pytest.raises(StateError, match="used-vol exists already"):
        nas.clone("used-vol", origin="model-vol@two", replaces=True)
    small = CloneZvols("tank", (NewClone("left-vol", "model-vol@one"),))
    assert nas.clones.clone(small)["made"] == ["left-vol"]
    anew = CloneZvols("tank", (NewClone("left-vol", "model-vol@two"),), replaces=True)
    assert nas.clones.clone(anew)["made"] == ["left-vol"]
    assert nas.pools.read("tank/left-vol", 5) == b"later"
    left = nas.pools.read_volume("tank/left-vol")
    assert left is not None and nas.records.known["left-vol"].volume_guid == left.guid
    nas.pools.ensure_properties(left.name, left.guid, {"imgstore:epoch": "1", "imgstore:owner": "none"})
    with pytest.raises(StateError, match="left-vol exists already in tank, and is not an unused clone"):
        nas.clones.clone(anew)  # of the right snapshot, and a removed machine has run from it
    nas.rename("free-vol", "elsewhere")
    with pytest.raises(StateError, match="volume tank/free-vol of ZVol free-vol does not exist"):
        nas.clone("free-vol", origin="model-vol@one", replaces=True)
    assert nas.pools.read_volume("tank/free-vol") is None


def test_one_disk_that_is_refused_does_not_stop_the_others(nas: Nas) -> None:
    """In its grace period, in another pool, or of another image: each with its reason; an import is left to its map."""
    nas.records.add(Image("gone", "nas-0-0", "tank", "gone-vol", state="deleting", volume_guid="7"))
    nas.records.add(Image("far", "nas-0-0", "other", "far-vol"))
    guid = nas.make("half-vol")
    nas.pools.ensure_properties("tank/half-vol", guid, {IMPORTING: "yes"})
    nas.make(base_volume("b" * 64), SNAPSHOT)
    nas.clone("other-vol", origin=base_snapshot("b" * 64))
    answer = nas.clone("a-vol", "gone-vol", "far-vol", "half-vol", "other-vol")
    assert (answer["made"], answer["present"]) == (["a-vol"], ["half-vol"])
    reasons = {one["zvol"]: one["reason"] for one in answer["refused"]}
    assert list(reasons) == ["gone-vol", "far-vol", "other-vol"]
    assert "was removed and is in its grace period" in reasons["gone-vol"]
    assert "is in the pool other of nas-0-0, not in tank" in reasons["far-vol"]
    assert "unused disk of another image" in reasons["other-vol"]
    assert "rocks remove host storageimg nas-0-0 tank other-vol now=yes" in reasons["other-vol"]
    assert nas.clone("other-vol", origin="")["present"] == ["other-vol"]


def test_a_disk_that_was_never_mapped_is_not_made_anew(nas: Nas) -> None:
    """A clone before its first start, and a disk that was adopted with what a machine has written."""
    nas.make("model-vol", "one")
    nas.clone("copy-vol", origin="model-vol@one")
    guid = nas.make("student-vol")
    nas.pools.ensure_properties("tank/student-vol", guid, {"imgstore:epoch": "3", "imgstore:owner": "none"})
    nas.clone("student-vol")
    nas.rename("copy-vol", "elsewhere")
    nas.rename("student-vol", "beside")
    answer = nas.clone("copy-vol", "student-vol")
    assert (answer["made"], answer["present"]) == ([], ["copy-vol", "student-vol"])
    assert nas.pools.read_volume("tank/copy-vol") is None


def test_only_a_snapshot_of_ours_makes_a_base(nas: Nas) -> None:
    """An operator's of the same name may have a part of the content."""
    half = base_volume("b" * 64)
    guid = nas.make(half)
    nas.pools.ensure_snapshot(f"tank/{half}", guid, SNAPSHOT, {})
    assert nas.clone("a-vol", origin=base_snapshot("b" * 64))["missing"] == ["a-vol"]
