"""Images that are being moved to another NAS, or are about to be used: rows, locks, what is left of a move to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from rocks.core.errors import StateError, UserError
from rocks.inventory.attributes.records import members_with_values
from rocks.leases.lease import LOCK_WAIT_SECONDS, ensure_locked
from rocks.library.guest_images import IMAGE_ATTRIBUTE, VOLUME_PREFIX, check_no_users
from rocks.storage.image.states import BLOCKED, DELETING, MOVING, UNMAPPED
from rocks.storage.volumes.place_records import disk_locations
from rocks.storage.volumes.places import volume_name

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from rocks.database.connection import Database
    from rocks.storage.volumes.places import DiskLocation
    from rocks.storage.wire.replies import ImageRow


ARRIVING = "arriving"
"""In the place of a state, as a NAS reports an image that is not its own yet."""


class ImageMove(NamedTuple):
    """A move: the NAS that has the volume, and the NAS and pool that get it."""

    nas: str
    volume: str
    target: str
    zpool: str

    @property
    def command(self) -> str:
        """The command that begins the move, or completes it."""
        return f"rocks move host storageimg {self.nas} {self.volume} to={self.target} zpool={self.zpool}"

    @property
    def cancelling(self) -> str:
        """The command that cancels it."""
        return f"rocks cancel host storagemap {self.nas} {self.volume}"


Part = Literal["send", "record", "nothing"]
"""What is left: everything from the request to the NAS on; to record the new place; nothing."""


def remaining_part(move: ImageMove, here: ImageRow | None, there: ImageRow | None, is_recorded: bool) -> Part:
    """What is left of a move, from the facts of both NASes. `is_recorded`: the database has this move as begun.

    StateError, with the next command, when the image cannot be moved.
    """
    is_there = there is not None and there.state != ARRIVING
    if here is None:
        if is_there and is_recorded:
            return "record"
        if is_there:
            return "nothing"
        raise StateError(
            f"ZVol {move.volume} is neither on {move.nas} nor on {move.target}; rocks list host storagemap lists the "
            "images of all NASes"
        )
    if here.peer is not None and here.state in (MOVING, DELETING) and here.peer != move.target:
        past = "is being moved" if here.state == MOVING else "was moved"
        raise StateError(f"ZVol {move.volume} of {move.nas} {past} to {here.peer}, not to {move.target}")
    if here.state == DELETING and here.peer == move.target:
        return "record"
    if here.state == MOVING:
        return "send"
    _check_idle(move, here)
    if is_there or (there is not None and there.peer != move.nas):
        raise StateError(
            f"ZVol {move.volume} exists already on {move.target} ({there.state if there else ''}); remove it there "
            "first by rocks remove host storageimg, or leave the image where it is"
        )
    return "send"


def _check_idle(move: ImageMove, here: ImageRow) -> None:
    if here.state == UNMAPPED:
        return
    if here.remotehost is not None and here.state != BLOCKED:
        raise StateError(
            f"ZVol {move.volume} of {move.nas} cannot be moved: {here.remotehost} has it ({here.state}). Stop its "
            "machine and wait until it is unmapped, or unmap it by "
            f"rocks remove host storagemap {move.nas} {move.volume}"
        )
    remedies: dict[str, str] = {
        BLOCKED: f"rocks clean host storagemap {move.nas} {move.volume} continues it",
        DELETING: f"rocks restore host storageimg {move.nas} {move.volume} restores it first",
    }
    why = f": {here.reason}" if here.reason else ""
    raise StateError(
        f"ZVol {move.volume} of {move.nas} cannot be moved: it is {here.state}{why}; "
        f"{remedies.get(here.state, 'repeat the command later')}"
    )


def choose_pool(present: str, pools: Sequence[str], nas: str) -> str:
    """The pool on the other NAS: that of the same name as now, or its only one."""
    if present in pools:
        return present
    if len(pools) == 1:
        return pools[0]
    raise UserError(f"{nas} has the pools {', '.join(pools)}: name one of them by zpool=")


def disks_of_image(nas: str, volume: str, disks: Iterable[DiskLocation]) -> list[DiskLocation]:
    """The disks of virtual machines that this image is."""
    return [
        disk
        for disk in disks
        if disk.nas.lower() == nas.lower() and volume_name(disk.vm, disk.number) == volume
    ]


def check_not_moving(disks: Iterable[DiskLocation], moves: Sequence[ImageMove]) -> None:
    """StateError when the image of one of the disks is being moved."""
    begun = {(move.nas.lower(), move.volume): move for move in moves}
    for disk in disks:
        move = begun.get((disk.nas.lower(), volume_name(disk.vm, disk.number))) if disk.nas else None
        if move is not None:
            raise StateError(
                f"host {disk.vm}: its image {move.volume} is being moved from {move.nas} to {move.target}; "
                f"`{move.command}` waits for the end of that, `{move.cancelling}` cancels it"
            )


# --- rows of `img_moves`: starts read them, so this module does not load the client -----------------------------------


def read_moves(database: Database) -> list[ImageMove]:
    """All moves of images, by NAS and volume."""
    rows = database.rows(
        "SELECT nas_name, zvol, target_name, target_zpool FROM img_moves ORDER BY nas_name, zvol"
    )
    return [ImageMove(*row) for row in rows]


def check_no_moves(database: Database, disks: Sequence[DiskLocation]) -> None:
    """StateError when the image of one of the disks is being moved; one statement, none without a disk on a NAS."""
    if any(disk.nas for disk in disks):
        check_not_moving(disks, read_moves(database))


def put_move(database: Database, move: ImageMove) -> None:
    """Record it; another move of the image is replaced."""
    database.execute(
        "INSERT INTO img_moves (nas_name, zvol, target_name, target_zpool) VALUES (%s, %s, %s, %s)"
        " ON DUPLICATE KEY UPDATE target_name = VALUES(target_name), target_zpool = VALUES(target_zpool)",
        move,
    )


def delete_move(database: Database, move: ImageMove) -> None:
    """Delete the row of a move that has ended or was cancelled."""
    database.execute("DELETE FROM img_moves WHERE nas_name = %s AND zvol = %s", (move.nas, move.volume))


def rename_nas(database: Database, old: str, new: str) -> None:
    """Rename a NAS."""
    for column in ("nas_name", "target_name"):
        database.execute(f"UPDATE img_moves SET {column} = %s WHERE {column} = %s", (new, old))


# --- what a moving machine, or a fresh disk, is about to use: commands do not change or destroy it -------------------


def disks_of(database: Database, nas: str, volume: str) -> list[DiskLocation]:
    """The disks of virtual machines that the image is."""
    return disks_of_image(nas, volume, disk_locations(database, None))


def lock_machine_of(database: Database, nas: str, volume: str) -> None:
    """Lock the machine whose disk the image is, until the connection closes.

    BusyError while another command changes it, StateError while its guest is between two hosts (decision 177): it would
    go on with another content than it has in memory.
    """
    disks = disks_of(database, nas, volume)
    ensure_locked(database, [disk.vm for disk in disks])


def lock_for_removal(
    database: Database, volumes: Collection[tuple[str, str, str]], removed: Collection[str] = ()
) -> None:
    """Lock volumes (NAS, pool, name) that are to be destroyed, until the connection closes.

    StateError when machines get their disks from one, but those that are `removed` with it; BusyError while another
    command destroys one.
    """
    database.lock_all([_lock_name(nas, volume) for nas, _, volume in volumes], LOCK_WAIT_SECONDS)
    database.end_reading()
    names = {f"{VOLUME_PREFIX}{volume}": (nas, zpool) for nas, zpool, volume in volumes}
    found = [one for one in members_with_values(database, IMAGE_ATTRIBUTE, [*names]) if one[0] not in removed]
    disks = disk_locations(database, [user for user, _ in found])
    places = {disk.vm: (disk.nas, disk.zpool) for disk in disks if disk.number == 0}
    for name, place in names.items():
        check_no_users(
            name, [user for user, used in found if used == name and places.get(user, place) == place]
        )


def wait_for_removals(database: Database, volumes: Iterable[tuple[str, str]]) -> None:
    """Return when no command destroys one of the volumes (NAS, name). BusyError after `LOCK_WAIT_SECONDS`.

    A removal that begins later finds the machines that get their disks from it.
    """
    names = [_lock_name(nas, volume) for nas, volume in volumes]
    database.lock_all(names, LOCK_WAIT_SECONDS)
    database.unlock_all(names)


def _lock_name(nas: str, volume: str) -> str:
    return f"volume {nas}:{volume}"
