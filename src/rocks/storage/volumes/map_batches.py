"""Map many images at once: initiators first, then the maps, then undo the maps of machines that failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from rocks.core.errors import Code, RocksError, StateError
from rocks.storage.client import asking
from rocks.storage.volumes.map_waits import is_busy_image, map_when_written_back
from rocks.storage.wire.requests import GetZvolAttrs, MapZvol, SetZvolAttrs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rocks.storage.client import Query, StorageClient, Watcher
    from rocks.storage.client.asking import Answers
    from rocks.storage.volumes.map_plan import ImageSpec


class Mapped(NamedTuple):
    """Image → its device, for machines with all images mapped; notes; errors by machine, which has none mapped."""

    devices: dict[ImageSpec, str]
    notes: list[str]
    failed: dict[str, RocksError]


def map_images(
    storage: StorageClient,
    images: Sequence[ImageSpec],
    tokens: Mapping[str, int],
    watcher: Watcher,
    made: list[ImageSpec],
) -> Mapped:
    """Map the images of all machines at once; `tokens` maps a machine's name in lower case to the token of its lease.

    When one image of a machine fails, the others that this call mapped are unmapped again. An image that is still being
    written back is waited for. `made` receives each newly mapped image at once, for use after an interrupt.
    """
    mapped = Mapped({}, [], {})
    known = storage.ask_each(_prepare(images))
    for image in images:
        error = _obstacle(image, known)
        if error is not None:
            mapped.failed.setdefault(image.vm, error)
    attempted = [image for image in images if image.vm not in mapped.failed]
    fresh = {_key(image): image for image in attempted if not _was_mapped(image, known)}
    answers = map_when_written_back(
        storage,
        {_key(image): _map_question(image, known, tokens) for image in attempted},
        watcher,
        lambda key: made.append(fresh[key]) if key in fresh else None,
    )
    for image in attempted:
        answer = answers[_key(image)]
        if isinstance(answer, RocksError):
            mapped.failed.setdefault(image.vm, _with_remedy(image, answer))
    _set_late_attributes(
        storage, [image for image in attempted if image.vm not in mapped.failed], known, mapped
    )
    _undo(storage, attempted, answers, known, mapped)
    for image in attempted:
        answer = answers[_key(image)]
        if image.vm not in mapped.failed and isinstance(answer, str):
            mapped.devices[image] = answer
    made[:] = [image for image in made if image in mapped.devices]
    return mapped


def map_arrived(
    storage: StorageClient,
    images: Sequence[ImageSpec],
    devices: Mapping[int, str],
    token: int,
    watcher: Watcher,
) -> None:
    """Map the images of a machine that has arrived on its new host, paused, under the lease of that token.

    `devices` maps the number of a disk to the device that the guest has open; StateError when an image has another one.
    Raises the first error. What is mapped stays so, since the guest has it open; the same call maps the others.
    """
    known = storage.ask_each({f"initiator {image.host}": asking.initiator_of(image.host) for image in images})
    for answer in known.values():
        if isinstance(answer, RocksError):
            raise answer
    asked = {_key(image): _map_question(image, known, {image.vm.lower(): token}) for image in images}
    remedy = f"rocks list host storageop {images[0].nas} shows the progress"
    answers = map_when_written_back(storage, asked, watcher, lambda key: None, remedy)
    for image in images:
        answer = answers[_key(image)]
        if isinstance(answer, RocksError):
            raise answer
        if answer != devices[image.number]:
            raise StateError(
                f"{image.nas}:{image.volume} is mapped to {image.host} as {answer}, without a copy; its guest has "
                f"{devices[image.number]} open"
            )


def _prepare(images: Sequence[ImageSpec]) -> dict[str, Query[Any]]:
    """Requests before the maps: initiators of hosts, attributes of images, and the present maps, which an undo needs.

    They set whether an image is persistent where its machine states it.
    """
    asked: dict[str, Query[Any]] = {}
    for image in images:
        asked[f"initiator {image.host}"] = asking.initiator_of(image.host)
        if image.is_persistent is None or _cannot_forget(image):
            asked[_key(image)] = asking.question(image.nas, GetZvolAttrs(image.volume))
        else:
            asked[_key(image)] = _persistence(image)
        asked[f"images {image.nas}"] = asking.images_of(image.nas)
    return asked


def _persistence(image: ImageSpec) -> Query[Any]:
    values = {"persistent": "yes" if image.is_persistent else "no"}
    return asking.question(image.nas, SetZvolAttrs(image.volume, tuple(values.items()), image.machine))


def _obstacle(image: ImageSpec, known: Answers[Any]) -> RocksError | None:
    """Why the map of the image cannot be requested; None when it can."""
    for answer in (known[f"initiator {image.host}"], known[f"images {image.nas}"]):
        if isinstance(answer, RocksError):
            return answer
    attributes = known[_key(image)]
    if isinstance(attributes, RocksError) and attributes.code is not Code.IMAGE_UNKNOWN:
        return attributes
    if _cannot_forget(image):
        return StateError(
            f"{image.vm} is not started on {image.host}: its changes are to be discarded (img_persistent no), but "
            f"without a copy there (img_sync no) it writes to {image.nas} directly; set one of the attributes to yes"
        )
    is_forgetful = not isinstance(attributes, RocksError) and not attributes.persistent
    if not image.sync and image.is_persistent is None and is_forgetful:
        return StateError(
            f"{image.vm} is not started on {image.host}: {image.nas}:{image.volume} is not persistent, but without a "
            f"copy there (img_sync no) it writes to {image.nas} directly; set img_sync yes, or "
            f"rocks set host zvolattr {image.nas} {image.volume} persistent yes"
        )
    return None


def _cannot_forget(image: ImageSpec) -> bool:
    return not image.sync and image.is_persistent is False


def _map_question(image: ImageSpec, known: Answers[Any], tokens: Mapping[str, int]) -> Query[str]:
    request = MapZvol(
        image.zpool,
        image.volume,
        image.host,
        image.pool,
        image.size_gib,
        image.sync,
        str(known[f"initiator {image.host}"]),
        tokens.get(image.vm.lower()),
        image.machine,
    )
    return asking.question(image.nas, request)


def _set_late_attributes(
    storage: StorageClient, images: Iterable[ImageSpec], known: Answers[Any], mapped: Mapped
) -> None:
    """Set attributes of images that their NAS knows only since this map; note images whose changes are discarded."""
    late = {}
    for image in images:
        attributes = known[_key(image)]
        if isinstance(attributes, RocksError):
            if image.is_persistent is False:
                late[_key(image)] = (image, _persistence(image))
        elif not attributes.persistent:
            mapped.notes.append(_forgetful(image))
    answers = storage.ask_each({key: question for key, (_, question) in late.items()})
    for key, (image, _) in late.items():
        answer = answers[key]
        if isinstance(answer, RocksError):
            mapped.failed.setdefault(image.vm, answer)
        else:
            mapped.notes.append(_forgetful(image))


def _forgetful(image: ImageSpec) -> str:
    return f"{image.nas}:{image.volume} is not persistent: changes of {image.vm} are discarded when it is unmapped"


def _undo(
    storage: StorageClient,
    attempted: Iterable[ImageSpec],
    answers: Answers[str],
    known: Answers[Any],
    mapped: Mapped,
) -> None:
    """Unmap the images that this call mapped, or may have mapped, for machines with an error."""
    undone = []
    for image in attempted:
        answer = answers[_key(image)]
        is_refused = isinstance(answer, RocksError) and (answer.family != "busy" or is_busy_image(answer))
        if image.vm in mapped.failed and not is_refused and not _was_mapped(image, known):
            undone.append(image)
    for vm, error in unmap_again(storage, undone).items():
        mapped.failed[vm] = joined(mapped.failed[vm], error)


def _was_mapped(image: ImageSpec, known: Answers[Any]) -> bool:
    """Whether the image was mapped to the host before; false for one that was being unmapped."""
    rows = known[f"images {image.nas}"]
    if isinstance(rows, RocksError):
        return False
    return any(
        row.zvol == image.volume and row.remotehost == image.host and not row.is_delete_remote for row in rows
    )


def _with_remedy(image: ImageSpec, error: RocksError) -> RocksError:
    if error.code is Code.IMAGE_MAPPED:
        return StateError(
            f"{image.vm} is not started on {image.host}: {error}; unmap it first with "
            f"rocks remove host storagemap {image.nas} {image.volume}, which writes its changes back, or, if that host "
            f"will never return, discard them with rocks clean host storagemap {image.nas} {image.volume} force=yes "
            "reason=WHY"
        )
    if error.code is Code.POOL_MISSING:
        index = f" index={image.number}" if image.number else ""
        return StateError(
            f"{image.vm} is not started on {image.host}: its disk is to be in the pool {image.zpool} of {image.nas}, "
            f"which is not there: {error}. rocks set host vm nas {image.vm} nas={image.nas} zpool=POOL{index} "
            "names another"
        )
    return error


def _key(image: ImageSpec) -> str:
    return f"image {image.nas} {image.volume}"


UNDO_SECONDS = 30.0
"""An unchanged image is unmapped within this time; the transfer of another one continues in the background."""


def unmap_again(storage: StorageClient, images: Iterable[ImageSpec]) -> dict[str, RocksError]:
    """Unmap the images, all at once; returns errors by machine, for images that may still be mapped.

    An image that is not mapped is no error. Only errors of the broker are raised.
    """
    requested = {_key(image): image for image in images}
    answers = storage.ask_each(
        {key: asking.unmap_image(image.nas, image.volume) for key, image in requested.items()},
        UNDO_SECONDS,
    )
    errors: dict[str, RocksError] = {}
    for key, image in requested.items():
        error = answers[key]
        if isinstance(error, RocksError) and not is_not_mapped(error):
            also = not_unmapped_error(image, error)
            errors[image.vm] = joined(errors[image.vm], also) if image.vm in errors else also
    return errors


def is_not_mapped(error: RocksError) -> bool:
    """Whether the error of a NAS means that the image is not mapped."""
    return error.code in (Code.IMAGE_NOT_MAPPED, Code.IMAGE_UNKNOWN)


def not_unmapped_error(image: ImageSpec, error: RocksError) -> RocksError:
    """The error of an image that could not be unmapped, in the family of its reason."""
    return type(error)(f"{image.nas}:{image.volume} may still be mapped to {image.host}: {error}")


def joined(error: RocksError, also: RocksError) -> RocksError:
    """The error, followed by an error of the cleanup."""
    return type(error)(f"{error}; and {also}")
