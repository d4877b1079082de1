"""Move an image from one NAS to another, and cancel that.

The move is recorded in the database before the NASes are asked: until its end no machine starts with the image, and a
command that was killed is completed by repeating it. The NASes complete their part without the command.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import RocksError, StateError, UserError
from rocks.inventory.loaded_host_records import load_hosts
from rocks.leases import lease as leases
from rocks.leases.lease import LOCK_WAIT_SECONDS, ensure_locked
from rocks.storage.client import asking
from rocks.storage.image.states import DELETING, MOVING
from rocks.storage.limits import MAP_SECONDS, WRITE_BACK_SECONDS
from rocks.storage.volumes import move_records
from rocks.storage.volumes.access import open_storage
from rocks.storage.volumes.move_records import ImageMove, choose_pool, disks_of, remaining_part
from rocks.storage.volumes.place_records import put_disks
from rocks.storage.volumes.places import (
    check_nas,
    check_not_running,
    check_pool_name,
    check_volume_name,
    pools_of,
)
from rocks.storage.volumes.volumes import grace_hours
from rocks.storage.wire.requests import AcceptZvol, MoveZvol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rocks.database.connection import Database
    from rocks.storage.client import StorageClient, Watcher
    from rocks.storage.volumes.places import DiskLocation
    from rocks.storage.wire.replies import ImageRow

Facts = tuple["ImageRow | None", "ImageRow | None"]
"""What the two NASes of a move have of the image."""


def move_image(
    database: Database, nas: str, volume: str, target: str, zpool: str, watcher: Watcher
) -> tuple[ImageMove, int]:
    """Move the image to a pool of the NAS `target`; returns the move, and for how many hours the old volume stays.

    Also the place of the disk in the database, if the image is a disk of a virtual machine. The connection to the
    database is closed while the image is transferred. UserError and StateError when it cannot be moved: then nothing is
    changed. BusyError while another command changes the machine or the image. After another error the NASes may
    continue; repeating the command waits for them.
    """
    check_volume_name(volume)
    if zpool:
        check_pool_name(zpool)
    if nas.lower() == target.lower():
        raise UserError(f"ZVol {volume} is on {nas} already; name another NAS by to=")
    (server,) = load_hosts(database, [target])
    check_nas(server)
    hours = grace_hours(database, nas)
    database.lock_all([f"image {volume.lower()}"], LOCK_WAIT_SECONDS)
    _lock(database, disks_of(database, nas, volume))
    begun = next(
        (one for one in move_records.read_moves(database) if (one.nas, one.volume) == (nas, volume)), None
    )
    with open_storage(database) as storage:
        move = ImageMove(nas, volume, server.name, zpool)
        here, there = _facts(storage, move)
        if begun is not None and begun.target == move.target:
            move = begun._replace(zpool=zpool or begun.zpool)
        elif not zpool:
            present = here.zpool if here is not None else there.zpool if there is not None else ""
            move = move._replace(zpool=choose_pool(present, pools_of(server), target))
        part = remaining_part(move, here, there, begun is not None and begun.target == move.target)
        if part == "send":
            if begun is not None and begun.target != move.target:
                _forget(database, storage, begun)
            _send(database, storage, move, here, hours, watcher)
    if part != "nothing":
        _record(database, move)
    return move, hours


def _send(
    database: Database,
    storage: StorageClient,
    move: ImageMove,
    here: ImageRow | None,
    hours: int,
    watcher: Watcher,
) -> None:
    """Have the NASes move the image. The record of the move is deleted again when they have refused."""
    assert here is not None
    needed_bytes = _needed_bytes(storage, move)
    move_records.put_move(database, move)
    database.commit()
    accept = asking.new_query(
        move.target, AcceptZvol(move.zpool, move.volume, move.nas, here.image_id, needed_bytes)
    )
    request = asking.new_query(move.nas, MoveZvol(move.volume, move.target, move.zpool, hours * 3600))
    try:
        if here.state != MOVING:
            storage.ask(accept, MAP_SECONDS)
        # the connection ends when the NAS has begun: the server would end one that is idle for hours
        answer = storage.wait_each({"": request}, WRITE_BACK_SECONDS, watcher, database.close)[""]
        if isinstance(answer, RocksError):
            raise answer
    except RocksError as error:
        if _stays_here(storage, move):
            _forget(database, storage, move)
            raise
        raise type(error)(f"{error}; to complete the move: `{move.command}`", code=error.code) from None
    except KeyboardInterrupt:
        watcher.left(f"to complete the move: `{move.command}`; to cancel it: `{move.cancelling}`")
        raise


def cancel_move(database: Database, nas: str, volume: str) -> ImageMove | None:
    """Cancel the move of an image that the NAS has or gets; None when the database has no such move.

    BusyError when the other NAS is about to have it, StateError when it has it.
    """
    check_volume_name(volume)
    database.lock_all([f"image {volume.lower()}"], LOCK_WAIT_SECONDS)
    moves = [
        one
        for one in move_records.read_moves(database)
        if one.volume == volume and nas in (one.nas, one.target)
    ]
    if not moves:
        return None
    move = moves[0]
    with open_storage(database) as storage:
        here, _ = _facts(storage, move)
        if here is not None and here.state == MOVING:
            storage.ask(asking.cancel_image(move.nas, volume), MAP_SECONDS)
            here, _ = _facts(storage, move)
        if here is None or (here.state == DELETING and here.peer is not None):
            raise StateError(
                f"ZVol {volume} was moved to {move.target} already; `{move.command}` records that"
            )
        _forget(database, storage, move)
    return move


def _lock(database: Database, disks: Sequence[DiskLocation]) -> None:
    names = [disk.vm for disk in disks]
    ensure_locked(database, names)
    check_not_running(disks, leases.read_leases(database, names).values())


def _facts(storage: StorageClient, move: ImageMove) -> Facts:
    """From both NASes; the error of one that does not answer is raised."""
    here, there = (storage.ask(asking.images_of(nas)) for nas in (move.nas, move.target))
    return _find(here, move.volume), _find(there, move.volume)


def _find(images: Iterable[ImageRow], volume: str) -> ImageRow | None:
    return next((image for image in images if image.zvol == volume), None)


def _needed_bytes(storage: StorageClient, move: ImageMove) -> int:
    """What the snapshots take, without what was written since the newest."""
    snapshots = storage.ask(asking.snapshots_of(move.nas, move.volume)).rows
    return sum(one.written_bytes for one in snapshots)


def _stays_here(storage: StorageClient, move: ImageMove) -> bool:
    """Whether the NAS has refused the move, or has aborted it, for certain."""
    try:
        here, there = _facts(storage, move)
    except RocksError:
        return False
    is_there = there is not None and there.state != "arriving"
    return here is not None and here.state != MOVING and here.peer is None and not is_there


def _forget(database: Database, storage: StorageClient, move: ImageMove) -> None:
    """The image stays: delete the record, and have the other NAS destroy what it has received."""
    try:
        _, there = _facts(storage, move)
        if there is not None and there.state == "arriving" and there.peer == move.nas:
            storage.ask(asking.cancel_image(move.target, move.volume), MAP_SECONDS)
    except RocksError:
        pass  # it is listed as arriving, and cancelled there, or by the next attempt
    move_records.delete_move(database, move)
    database.commit()


def _record(database: Database, move: ImageMove) -> None:
    """The disk has its new place, and the move has ended."""
    disks = disks_of(database, move.nas, move.volume)
    ensure_locked(database, [disk.vm for disk in disks])
    put_disks(database, [disk._replace(nas=move.target, zpool=move.zpool) for disk in disks])
    move_records.delete_move(database, move)
    database.commit()
