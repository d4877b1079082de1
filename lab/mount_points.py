"""Empty folders of this machine over which the lab's machines mount their own, in mount namespaces of their own.

A folder that is missing is made, with a mark in it. It is removed when no mount namespace uses it any longer: Linux
detaches mounts whose mount point is removed elsewhere, so other namespaces would lose theirs.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.processes import all_process_ids
from rocks.errors import HostError

_MARK = ".mount-point-of-rocks-lab"


@contextmanager
def held() -> Iterator[None]:
    """While held, no other machine of the lab makes or removes mount points."""
    handle = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def ensure(places: Iterable[Path]) -> None:
    """Make the folders that are missing. To be called while `held`. HostError when one cannot be made."""
    for place in places:
        if place.is_dir():
            continue
        try:
            place.mkdir(mode=0o755)
            (place / _MARK).touch()
        except OSError as error:
            raise HostError(f"cannot make the mount point {place}: {error.strerror}") from None


def is_lasting(place: Path) -> bool:
    """Whether a folder is there and is nobody's mount point that will be removed again."""
    return place.is_dir() and not (place / _MARK).exists()


def remove_unused(places: Iterable[Path]) -> list[Path]:
    """Remove those of the folders that carry the mark and are used by no mount namespace; returns them.

    To be called while `held`.
    """
    marked = [place for place in places if (place / _MARK).exists()]
    used = _mounted_places() if marked else set()
    removed = []
    for place in marked:
        if str(place) in used or len(list(place.iterdir())) != 1:
            continue  # somebody has put something there: it is his now
        (place / _MARK).unlink()
        place.rmdir()
        removed.append(place)
    return removed


def _mounted_places() -> set[str]:
    """Mount points of all mount namespaces in which some process lives, as seen from each root folder in them.

    A process that ends while it is looked at says nothing of its namespace, and one with a root folder of its own sees
    only a part of it: a namespace counts as read for those only who see the same.
    """
    places: set[str] = set()
    seen: set[tuple[str, str]] = set()
    for process_id in all_process_ids():
        folder = Path(f"/proc/{process_id}")
        try:
            view = str((folder / "ns/mnt").readlink()), str((folder / "root").readlink())
            if view in seen:
                continue
            lines = (folder / "mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        except OSError:
            continue
        if lines:  # a process that has just ended shows an empty list
            seen.add(view)
            places.update(line.split(" ")[4] for line in lines)
    return places
