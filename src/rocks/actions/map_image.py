"""Give an image of a NAS to a host, for whatever use; virtual machines get theirs by `map_vm_images`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rocks.actions.reach_storage import open_storage
from rocks.cluster.image_places import check_pool_name
from rocks.cluster.image_plan import LARGEST_SIZE_GB, check_volume_name
from rocks.cluster.values import read_number
from rocks.database.vms import load_hosts
from rocks.errors import UserError
from rocks.imgstorage.client import questions
from rocks.imgstorage.client.asking import MAP_SECONDS
from rocks.wire.imgstorage import MapZvol

if TYPE_CHECKING:
    from rocks.database.connection import Database
    from rocks.imgstorage.client import Watcher


@dataclass(frozen=True)
class MapParameters:
    """The words of `rocks add host storagemap`: `size` in GB of 1024³ bytes; `sync` None is what the host says."""

    nas: str
    zpool: str
    volume: str
    host: str
    size: str
    pool: str = ""
    sync: bool | None = None


def map_image(database: Database, words: MapParameters, watcher: Watcher) -> str:
    """Map the image, which is made when the NAS has none of that name; returns the path of its device on the host.

    UserError for a word that is wrong, and the errors of the NAS in its own words; then nothing is mapped.
    """
    check_pool_name(words.zpool)
    check_volume_name(words.volume)
    size_gb = read_number("size", words.size, 1, LARGEST_SIZE_GB)
    if words.pool:
        check_pool_name(words.pool)
    (host,) = load_hosts(database, [words.host])
    sync = host.is_true("img_sync") if words.sync is None else words.sync
    if sync and not words.pool:
        raise UserError(
            f"{words.volume} is to be copied to {host.name} (img_sync is true), and no pool there is named: "
            "give remotepool=POOL, or img_sync=no"
        )
    with open_storage(database) as storage:
        initiator = storage.ask(questions.initiator_of(host.name))
        request = MapZvol(words.zpool, words.volume, host.name, words.pool or None, size_gb, sync, initiator)
        return storage.wait(questions.map_image(words.nas, request), MAP_SECONDS, watcher)
