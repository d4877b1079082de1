"""Map images that may still be being written back: a machine can start immediately after its stop.

The NAS refuses a map of a busy image; the start repeats the request when the image is written back, for a
quarter of an hour at most, and shows how far it is. The NAS drops the report of an end under a lease older
than the newest that it has mapped for. Waiting in the NAS was refused, since a command that has gone away
would still map; waiting in the stop, since it must return at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.clock import Deadline, wait_seconds
from rocks.core.errors import BusyError, Code, RocksError
from rocks.storage.bus import BrokerAwayError
from rocks.storage.client import asking
from rocks.storage.client.listing import progress_line
from rocks.storage.life.states import DELETING, GROWING, MAPPING, RESTORING, RETURNING
from rocks.storage.limits import MAP_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from rocks.storage.client import Query, StorageClient, Watcher
    from rocks.storage.client.asking import Answers

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
