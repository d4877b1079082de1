"""Map images that may still be being written back: a machine can start immediately after its stop.

The NAS refuses a map of a busy image; the start repeats the request when the image is written back, for a
quarter of an hour at most, and shows how far it is. The NAS drops the report of an end under a lease older
than the newest that it has mapped for. Waiting in the NAS was refused, since a command that has gone away
would still map; waiting in the stop, since it must return at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from rocks.core.clock import Deadline, wait_seconds
from rocks.core.errors import BusyError, Code, RocksError, StateError
from rocks.storage.bus import BrokerAwayError
from rocks.storage.client import asking
from rocks.storage.client.listing import progress_line
from rocks.storage.image.states import DELETING, GROWING, MAPPING, RESTORING, RETURNING
from rocks.storage.limits import MAP_SECONDS
from rocks.storage.wire.requests import GetZvolAttrs, MapZvol, SetZvolAttrs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from rocks.storage.client import Query, StorageClient, Watcher
    from rocks.storage.client.asking import Answers
    from rocks.storage.volumes.places import ImageSpec


START_WAIT_SECONDS = 900.0
"""How long a start waits for an image to be written back. The operator should watch a longer transfer instead."""

_LOOK_SECONDS = 1.0

_PASSING: tuple[str, ...] = (MAPPING, RETURNING, RESTORING, GROWING)
"""States that reject a map as busy and end by themselves. The start does not wait for an image that is being destroyed:
the map would create an empty volume in its place."""

_LEFT_ALONE = (DELETING, None)


def map_when_written_back(
    storage: StorageClient,
    queries: Mapping[str, Query[str]],
    watcher: Watcher,
    note_mapped: Callable[[str], None],
    remedy: str = "",
) -> Answers[str]:
    """Request the maps; a map that is rejected because of a transfer is requested again when the transfer has ended.

    Returns key → the device, or the error; after START_WAIT_SECONDS a BusyError with the remedy. An interrupt ends the
    wait; the images that were waited for are not mapped. `note_mapped` receives the key of each mapped image at once.
    `remedy` is what to do after the time; empty: that of a start.
    """
    answers = storage.wait_each(queries, MAP_SECONDS, watcher)
    _note(answers, note_mapped)
    deadline = Deadline(START_WAIT_SECONDS)
    waiting = {key: one for key, one in queries.items() if is_busy_image(answers[key])}
    try:
        while waiting and not deadline.passed():
            states = _states(storage, waiting.values())
            arrived = {key: one for key, one in waiting.items() if states.get(_place(one)) not in _PASSING}
            waiting = {key: one for key, one in waiting.items() if key not in arrived}
            again = {key: one for key, one in arrived.items() if states.get(_place(one)) not in _LEFT_ALONE}
            if again:
                asked_again: Answers[str] = storage.wait_each(again, MAP_SECONDS, watcher)
                answers.update(asked_again)
                _note(asked_again, note_mapped)
                waiting.update({key: one for key, one in again.items() if is_busy_image(answers[key])})
            if waiting:
                _show(storage, waiting.values(), watcher)
                wait_seconds(_LOOK_SECONDS)
    except KeyboardInterrupt:
        for one in waiting.values():
            watcher.left(
                f"{one.node}:{one.zvol} was not mapped, and its transfer continues; {remedy or _remedy(one)}"
            )
        raise
    for key, one in waiting.items():
        message = (
            f"{answers[key]}. This command waited {START_WAIT_SECONDS:g} s for it; {remedy or _remedy(one)}"
        )
        answers[key] = BusyError(message, code=Code.IMAGE_BUSY)
    return answers


def _note(answers: Answers[str], note_mapped: Callable[[str], None]) -> None:
    for key, answer in answers.items():
        if isinstance(answer, str):
            note_mapped(key)


def is_busy_image(answer: str | RocksError) -> bool:
    """Whether the NAS rejected the request because the image is in a temporary state."""
    return isinstance(answer, RocksError) and answer.code is Code.IMAGE_BUSY


def _place(query: Query[str]) -> tuple[str, str]:
    return query.node, query.zvol


def _states(storage: StorageClient, waiting: Iterable[Query[str]]) -> dict[tuple[str, str], str]:
    """(NAS, volume) → its state. Images of a NAS that does not answer count as in transfer, so it is asked again."""
    places = [_place(one) for one in waiting]
    try:
        answers = storage.ask_each({nas: asking.images_of(nas) for nas, _ in places})
    except BrokerAwayError:
        return dict.fromkeys(places, _PASSING[0])
    states: dict[tuple[str, str], str] = {}
    for nas, rows in answers.items():
        if isinstance(rows, RocksError):
            states.update({place: _PASSING[0] for place in places if place[0] == nas})
        else:
            states.update({(nas, row.zvol): row.state for row in rows})
    return states


def _show(storage: StorageClient, waiting: Iterable[Query[str]], watcher: Watcher) -> None:
    """Display the progress of the transfers."""
    if not watcher.displays_progress:
        return
    volumes = {_place(one) for one in waiting}
    try:
        answers = storage.ask_each({nas: asking.operations_of(nas) for nas, _ in volumes})
    except BrokerAwayError:
        return
    lines = {(nas, volume): f"{volume}: waiting for its transfer" for nas, volume in volumes}
    for nas, rows in answers.items():
        for row in () if isinstance(rows, RocksError) else rows:
            if (nas, row.image) in volumes:
                lines[nas, row.image] = progress_line(row)
    watcher.progress("; ".join(lines.values()))


def _remedy(query: Query[str]) -> str:
    return (
        f"start the machine when rocks list host storagemap {query.node} shows {query.zvol} as unmapped "
        f"(rocks list host storageop {query.node} shows the progress)"
    )


# --- many images at once: initiators first, then the maps, then undo the maps of machines that failed --------------


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
        {_key(image): _map_query(image, known, tokens) for image in attempted},
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
    asked = {_key(image): _map_query(image, known, {image.vm.lower(): token}) for image in images}
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
            asked[_key(image)] = asking.new_query(image.nas, GetZvolAttrs(image.volume))
        else:
            asked[_key(image)] = _persistence(image)
        asked[f"images {image.nas}"] = asking.images_of(image.nas)
    return asked


def _persistence(image: ImageSpec) -> Query[Any]:
    values = {"persistent": "yes" if image.is_persistent else "no"}
    return asking.new_query(image.nas, SetZvolAttrs(image.volume, tuple(values.items()), image.machine))


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


def _map_query(image: ImageSpec, known: Answers[Any], tokens: Mapping[str, int]) -> Query[str]:
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
    return asking.new_query(image.nas, request)


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
    answers = storage.ask_each({key: query for key, (_, query) in late.items()})
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
