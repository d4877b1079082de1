"""The cache of built parts."""

from pathlib import Path

import pytest

from lab.build.cache import Cache, key_of
from rocks.core.errors import StateError


def test_part_is_built_once_and_whole(tmp_path: Path) -> None:
    """A build that fails leaves nothing that counts as built, and the next one begins anew."""
    cache = Cache(tmp_path)
    attempts: list[Path] = []

    def build(place: Path) -> None:
        attempts.append(place)
        assert not list(place.iterdir())
        (place / "file").write_text("x", encoding="ascii")
        if len(attempts) == 1:
            raise OSError("cut off")

    with pytest.raises(OSError, match="cut off"):
        cache.ensure("part", "key", build)
    assert not cache.has("part", "key")
    with pytest.raises(StateError, match="make lab"):
        cache.required("part", "key")
    assert cache.ensure("part", "key", build) == cache.required("part", "key")
    cache.ensure("part", "key", build)
    assert len(attempts) == 2


def test_other_keys_are_dropped(tmp_path: Path) -> None:
    """What is not needed any longer goes, with what cut-off builds left."""
    cache = Cache(tmp_path)
    for name in ("part-old", "part-new", "other-x.unfinished"):
        (tmp_path / name).mkdir()
    cache.drop_others([cache.place("part", "new")])
    assert [path.name for path in tmp_path.iterdir()] == ["part-new"]


def test_key_distinguishes_inputs() -> None:
    """Also where they are only split in another way."""
    assert key_of(("a", "b")) == key_of(("a", "b"))
    assert len({key_of(("a", "b")), key_of(("ab",)), key_of("a", "b"), key_of(b"ab")}) == 4
