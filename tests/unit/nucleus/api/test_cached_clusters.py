"""Texts of clusters that are stored: of the newest generation, at most so many bytes, the oldest go first."""

from pathlib import Path
from typing import NamedTuple

import pytest

from nucleus.api import cached_clusters
from nucleus.api.cached_clusters import CachedClusters, _Text


class _Cluster(NamedTuple):
    id: int
    generation: int = 1


def stored(found: CachedClusters, *numbers: int) -> list[int]:
    """Those of the clusters that have a text."""
    return list(found.ready(_Cluster(number) for number in numbers))  # type: ignore[misc]


@pytest.fixture
def texts(monkeypatch: pytest.MonkeyPatch) -> CachedClusters:
    """For 100 bytes."""
    monkeypatch.setattr(cached_clusters, "_MAX_BYTES", 100)
    return CachedClusters()


def keep(found: CachedClusters, number: int, size: int, generation: int = 1) -> None:
    found._keep(number, _Text(generation, [b"x" * size], size))


def test_the_oldest_texts_are_dropped(texts: CachedClusters) -> None:
    keep(texts, 1, 40)
    keep(texts, 2, 60)
    assert stored(texts, 1, 2) == [1, 2], "100 bytes are not too many"
    keep(texts, 3, 30)
    assert stored(texts, 1, 2, 3) == [2, 3]
    keep(texts, 4, 11)
    assert stored(texts, 2, 3, 4) == [3, 4]
    keep(texts, 5, 59)
    assert stored(texts, 3, 4, 5) == [3, 4, 5], "what is gone counts no more"
    keep(texts, 6, 101)
    assert stored(texts, 3, 4, 5, 6) == []
    keep(texts, 7, 100)
    assert stored(texts, 7) == [7]


def test_a_text_that_is_replaced_counts_once_and_is_the_newest(texts: CachedClusters) -> None:
    keep(texts, 1, 50)
    keep(texts, 2, 50)
    keep(texts, 1, 50, generation=2)
    assert stored(texts, 2) == [2]
    assert stored(texts, 1) == [], "a text of another generation is none"
    keep(texts, 3, 10)
    assert stored(texts, 2, 3) == [3], "the one that was replaced is newer"


def test_a_text_belongs_to_all_modules_that_make_it() -> None:
    names = {"/".join(Path(one).parts[-2:]) for one in cached_clusters._SOURCES}
    assert names >= {
        "mirror/clusters.py",
        "nucleus/records.py",
        "mirror/columns.py",
        "api/cached_clusters.py",
    }
