"""Built parts, stored under a key of their inputs: a part is there whole or not at all."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from rocks.core.errors import StateError

_UNFINISHED = ".unfinished"
_KEY_LENGTH = 12


def key_of(*inputs: object) -> str:
    """A short name for the inputs of a part; equal inputs give equal keys on every machine."""
    digest = hashlib.sha256()
    for item in inputs:
        data = item if isinstance(item, bytes) else repr(item).encode()
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()[:_KEY_LENGTH]


def files_of(*folders: Path) -> tuple[bytes, ...]:
    """Names and contents of the files below the folders (or of the files themselves), in a fixed order, for a key."""
    parts: list[bytes] = []
    for folder in folders:
        found = [folder] if folder.is_file() else sorted(path for path in folder.rglob("*") if path.is_file())
        for path in found:
            if "__pycache__" not in path.parts:
                parts += [path.name.encode(), path.read_bytes()]
    return tuple(parts)


class Cache:
    """Parts below one folder, each in a folder `name-key`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def place(self, name: str, key: str) -> Path:
        """Where the part is or will be."""
        return self.folder / f"{name}-{key}"

    def has(self, name: str, key: str) -> bool:
        """Whether the part is there."""
        return self.place(name, key).is_dir()

    def required(self, name: str, key: str) -> Path:
        """The part. StateError when it has not been built."""
        place = self.place(name, key)
        if not place.is_dir():
            raise StateError(f"the lab is not built: {place} is missing; run `make lab` as root once")
        return place

    def ensure(self, name: str, key: str, build: Callable[[Path], None]) -> Path:
        """The part, built into a new folder and renamed when it is whole."""
        place = self.place(name, key)
        if place.is_dir():
            return place
        unfinished = place.with_name(place.name + _UNFINISHED)
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        build(unfinished)
        unfinished.rename(place)
        return place

    def all_of(self, name: str) -> list[Path]:
        """The whole parts of that name, of any key."""
        return [
            place
            for place in self.folder.glob(f"{name}-*")
            if place.is_dir() and not place.name.endswith(_UNFINISHED)
        ]

    def drop_others(self, needed: Sequence[Path]) -> None:
        """Remove parts of other keys, and files of interrupted builds."""
        for place in self.folder.iterdir():
            if place.is_dir() and place not in needed:
                shutil.rmtree(place)
