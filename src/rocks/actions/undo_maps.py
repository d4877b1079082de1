"""Unmap again what was mapped for machines that do not run after all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.errors import Code, RocksError
from rocks.imgstorage.client import questions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rocks.cluster.image_plan import ImageSpec
    from rocks.imgstorage.client import StorageClient

UNDO_SECONDS = 30.0
"""An image that nobody has written to is home at once; another one goes on without us."""


def unmap_again(storage: StorageClient, images: Iterable[ImageSpec]) -> dict[str, RocksError]:
    """Unmap them all at once; returns machine → which of its images may still be mapped, and why.

    What nobody has is as wanted. Only errors of the broker are raised.
    """
    wanted = {f"{image.nas} {image.volume}": image for image in images}
    answers = storage.ask_each(
        {key: questions.unmap_image(image.nas, image.volume) for key, image in wanted.items()}, UNDO_SECONDS
    )
    left: dict[str, RocksError] = {}
    for key, image in wanted.items():
        error = answers[key]
        if isinstance(error, RocksError) and not is_home_already(error):
            also = may_be_mapped(image, error)
            left[image.vm] = joined(left[image.vm], also) if image.vm in left else also
    return left


def is_home_already(error: RocksError) -> bool:
    """Whether a NAS says by it that nobody has the image."""
    return error.code in (Code.IMAGE_NOT_MAPPED, Code.IMAGE_UNKNOWN)


def may_be_mapped(image: ImageSpec, error: RocksError) -> RocksError:
    """What a person must know of an image that was to be unmapped; the family is that of the reason."""
    return type(error)(f"{image.nas}:{image.volume} may still be mapped to {image.host}: {error}")


def joined(error: RocksError, also: RocksError) -> RocksError:
    """The error, with another one that came of mending it."""
    return type(error)(f"{error}; and {also}")
