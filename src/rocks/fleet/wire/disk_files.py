"""Requests about the image files and block devices of a host: list, give to a machine, remove."""

from __future__ import annotations

from typing import Literal, Tuple

from rocks.core.dataclasses import dataclass
from rocks.fleet.wire.request import Request

Erase = Literal["discard", "overwrite"]
"""What becomes of the blocks of a removed image: they are freed, or written with zeros first."""

UNREADABLE = "unreadable"
"""In the place of an owner's UUID: the mark of the image could not be read."""


@dataclass(frozen=True)
class ImageFact:
    """An image file, or a block device that was given to a machine.

    `machine` is the UUID of its owner, empty for nobody, `UNREADABLE` for an unknown one. `used_bytes` is what it
    occupies; `user` names the domain or process that has it, empty for none. `moment` is that of a snapshot's file, as
    `rocks.fleet.wire.snapshot_names` has it, empty for another one and where its file system could not store it.
    """

    path: str
    machine: str
    size_bytes: int
    used_bytes: int
    is_block: bool
    user: str = ""
    moment: str = ""


@dataclass(frozen=True)
class ImageFacts:
    """All images, by path. `problems`: folders that could not be read."""

    images: Tuple[ImageFact, ...]
    problems: Tuple[str, ...] = ()


@dataclass(frozen=True)
class ImagesRequest(Request[ImageFacts]):
    """List the files below these image directories, and the block devices that belong to machines."""

    directories: Tuple[str, ...]


@dataclass(frozen=True)
class ImageChange:
    """Whether something changed."""

    changed: bool


@dataclass(frozen=True)
class GiveImageRequest(Request[ImageChange]):
    """Make an unused image belong to the machine with this UUID; now it belongs to `owner` (empty: nobody)."""

    path: str
    directory: str
    is_block: bool
    machine: str
    owner: str = ""


@dataclass(frozen=True)
class RemoveImageRequest(Request[ImageChange]):
    """Remove an unused image that belongs to `owner` (empty: nobody). A block device is erased and becomes nobody's."""

    path: str
    directory: str
    is_block: bool
    owner: str
    erase: Erase = "discard"
