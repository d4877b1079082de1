"""Map an image to a host and unmap it on the operator's request; machines get theirs by `machine.volumes`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.dataclasses import dataclass
from rocks.core.errors import BusyError, Code, RocksError, StateError, UserError
from rocks.core.values import check_text
from rocks.inventory.loaded_host_records import load_hosts
from rocks.leases.lease import read_leases
from rocks.leases.plan import SAVED, saved_with_images
from rocks.storage.client import asking
from rocks.storage.image.states import BLOCKED, MAPPING, SWITCHING
from rocks.storage.limits import MAP_SECONDS, WRITE_BACK_SECONDS
from rocks.storage.volumes.access import open_storage
from rocks.storage.volumes.move_records import disks_of, lock_machine_of
from rocks.storage.volumes.moves import cancel_move
from rocks.storage.volumes.places import check_pool_name, check_volume_name, read_size_gib
from rocks.storage.wire.requests import AbandonZvol, ListDevices, MapZvol, PullZvol, RetryZvol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database
    from rocks.storage.client import Query, StorageClient, Watcher
    from rocks.storage.wire.replies import ImageRow


@dataclass(frozen=True)
class MapParameters:
    """The parameters of `rocks add host storagemap`: `size` in GiB; `sync` None: the host's img_sync."""

    nas: str
    zpool: str
    volume: str
    host: str
    size: str
    pool: str = ""
    sync: bool | None = None


def map_image(database: Database, parameters: MapParameters, watcher: Watcher) -> str:
    """Map the image, which is created when the NAS has none of that name; returns its device on the host.

    UserError for an invalid parameter, and the errors of the NAS; then nothing is mapped.
    """
    check_pool_name(parameters.zpool)
    check_volume_name(parameters.volume)
    size_gib = read_size_gib(parameters.size)
    if parameters.pool:
        check_pool_name(parameters.pool)
    (host,) = load_hosts(database, [parameters.host])
    sync = host.is_true("img_sync") if parameters.sync is None else parameters.sync
    if sync and not parameters.pool:
        raise UserError(
            f"{parameters.volume} is copied to {host.name} (img_sync is true), but no pool there is given: "
            "give remotepool=POOL, or img_sync=no"
        )
    lock_machine_of(database, parameters.nas, parameters.volume)
    with open_storage(database) as storage:
        initiator = storage.ask(asking.initiator_of(host.name))
        request = MapZvol(
            parameters.zpool, parameters.volume, host.name, parameters.pool or None, size_gib, sync, initiator
        )
        return storage.wait(asking.new_query(parameters.nas, request), MAP_SECONDS, watcher)


def unmap_image(
    database: Database, nas: str, volume: str, watcher: Watcher, seconds: float = WRITE_BACK_SECONDS
) -> None:
    """Unmap the image; returns when all changes are written back to the NAS. Raises the error of the NAS.

    The connection to the database is closed meanwhile. NoAnswerError (BusyError) after `seconds`; StateError while the
    memory of its machine is saved.

    Without the lock of its machine: a command that holds it may wait for this (decision 177 lists those that take it).
    The host decides: it refuses while a guest has the device open, and while its memory is saved.
    """
    check_volume_name(volume)
    saved = _error_if_saved(database, nas, volume)
    if saved is not None:
        raise saved
    _wait(database, asking.unmap_image(nas, volume), watcher, seconds)


def pull_image(database: Database, nas: str, volume: str, watcher: Watcher, seconds: float) -> None:
    """Write the changes of a running guest back; returns when the NAS has them. Otherwise as `unmap_image`."""
    check_volume_name(volume)
    _wait(database, asking.new_query(nas, PullZvol(volume)), watcher, seconds)


def cancel_map(database: Database, nas: str, volume: str) -> None:
    """Undo a map or a move in progress, or cancel an unmap that still waits. StateError when there is none of them."""
    check_volume_name(volume)
    if cancel_move(database, nas, volume) is not None:
        return
    with open_storage(database) as storage:
        storage.ask(asking.cancel_image(nas, volume))


def _error_if_saved(database: Database, nas: str, volume: str) -> StateError | None:
    """The error of taking the image from its host, when its machine is saved there."""
    disks = disks_of(database, nas, volume)
    for lease in read_leases(database, [disk.vm for disk in disks]).values():
        if lease.state == SAVED:
            return saved_with_images(lease.name, lease.host)
    return None


def _wait(database: Database, request: Query[None], watcher: Watcher, seconds: float) -> None:
    with open_storage(database) as storage:
        # the server would end a connection that is idle for hours
        database.commit()
        database.close()
        storage.wait(request, seconds, watcher)


NODE_TYPES = ("", "vmc", "nas")
LONGEST_REASON = 1000


def clean_map(
    database: Database, nas: str, volume: str, node_type: str, reason: str | None, watcher: Watcher
) -> str:
    """Retry, undo or unmap; returns what was done as a line for the operator.

    With a `reason`, changes that only the host has are discarded. `node_type` is accepted for old scripts and has no
    effect. StateError when the NAS has no such image or the image is not mapped, and while the memory of its machine is
    saved, unless the image is only retried; BusyError during a transfer, and with a `reason` while the host answers
    that something uses the image.
    """
    check_volume_name(volume)
    machines = [disk.vm for disk in disks_of(database, nas, volume)]
    saved = _error_if_saved(database, nas, volume)
    if node_type not in NODE_TYPES:
        raise UserError(f'nodetype "{node_type}" must be vmc or nas')
    if reason is not None:
        check_text("reason", reason, LONGEST_REASON)
        lock_machine_of(database, nas, volume)
    with open_storage(database) as storage:
        database.commit()
        if reason is None:
            database.close()  # it may take hours; with a reason the machine stays locked
        row = next((row for row in storage.ask(asking.images_of(nas)) if row.zvol == volume), None)
        if row is None:
            raise StateError(f"ZVol {volume} not found in database", code=Code.IMAGE_UNKNOWN)
        if row.remotehost is None and row.state != BLOCKED and reason is None:
            raise StateError(f"ZVol {volume} is not mapped", code=Code.IMAGE_NOT_MAPPED)
        if saved is not None and (reason is not None or row.state != BLOCKED):
            raise saved
        if reason is not None:
            _check_unused(storage, nas, row, machines)
            return _abandon(storage, nas, row, reason, watcher)
        return _clean(storage, nas, row, watcher)


def _clean(storage: StorageClient, nas: str, row: ImageRow, watcher: Watcher) -> str:
    if row.state == BLOCKED:
        lost = _what_would_be_lost(storage, nas, row)
        storage.ask(asking.new_query(nas, RetryZvol(row.zvol)))
        if row.remotehost is None and row.peer is not None:
            return f"{nas}:{row.zvol} was blocked ({row.reason}); its move to {row.peer} is tried again"
        if row.remotehost is None:
            return f"{nas}:{row.zvol} was blocked ({row.reason}) and is retried"
        return (
            f"{nas}:{row.zvol} was blocked ({row.reason}) and is retried. If {row.remotehost} never returns and it is "
            f'blocked again, force=yes reason="…" discards {lost}'
        )
    if row.state == MAPPING:
        storage.ask(asking.cancel_image(nas, row.zvol), MAP_SECONDS)
        return f"{nas}:{row.zvol}: its mapping to {row.remotehost} is undone"
    # during a periodic transfer the unmap waits for its end
    if row.state == SWITCHING or row.is_sending or row.is_delete_remote:
        raise BusyError(
            f"ZVol {row.zvol} is busy: it is {row.state}; wait for its end: rocks list host storageop {nas}"
        )
    storage.wait(asking.unmap_image(nas, row.zvol), WRITE_BACK_SECONDS, watcher)
    return f"{nas}:{row.zvol} is unmapped from {row.remotehost}, with all its changes"


def _check_unused(storage: StorageClient, nas: str, row: ImageRow, machines: Sequence[str]) -> None:
    """BusyError when the image's host answers that the device is in use. One that does not answer may be lost."""
    host = row.remotehost
    if host is None:
        return
    devices = storage.ask_each({host: asking.new_query(host, ListDevices())})[host]
    rows = {} if isinstance(devices, RocksError) else devices
    # a host that has lost its records knows the session alone
    named = [one for zvol, one in rows.items() if zvol == row.zvol or (one.target or "-") == row.iscsi_target]
    if not any(one.in_use for one in named):
        return
    user = "".join(f"{vm} runs there, or " for vm in machines) + "a program there uses the device"
    stop = "".join(f"run rocks stop host vm {vm} first, or " for vm in machines) + "end that program"
    raise BusyError(f"{nas}:{row.zvol} stays on {host}, which answers: {user}; {stop}")


def _abandon(storage: StorageClient, nas: str, row: ImageRow, reason: str, watcher: Watcher) -> str:
    lost = _what_would_be_lost(storage, nas, row)
    abandon = asking.new_query(nas, AbandonZvol(row.zvol, reason))
    storage.wait(abandon, MAP_SECONDS, watcher)
    if row.remotehost is None and row.peer is not None:
        return f"{nas}:{row.zvol} stays on {nas}; its move to {row.peer} is given up"
    if row.remotehost is None:
        return f"{nas}:{row.zvol} has the content on the NAS; what hosts have of it besides is given up"
    return f"{nas}:{row.zvol} is unmapped from {row.remotehost}; discarded: {lost}"


def _what_would_be_lost(storage: StorageClient, nas: str, row: ImageRow) -> str:
    """A text for the changes of the host since the newest snapshot on the NAS."""
    if row.remotehost is None:
        return "no changes of a host"
    try:
        snapshots = storage.ask(asking.snapshots_of(nas, row.zvol)).rows
    except RocksError:
        snapshots = ()
    since = f" after {snapshots[-1].created} (snapshot {snapshots[-1].name})" if snapshots else ""
    return f"all changes on {row.remotehost}{since}"
