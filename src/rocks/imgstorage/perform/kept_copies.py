"""Copies of images that a host keeps although no guest uses them: what they are, and which go when room is needed."""

from __future__ import annotations

import logging
from typing import Callable, List, Mapping, NamedTuple, Optional

from rocks.devices.zfs.driver import PoolDriver
from rocks.devices.zfs.facts import VolumeFact
from rocks.imgstorage.model import names
from rocks.units import gigabytes

_log = logging.getLogger(__name__)

PROPERTY_PREFIX = "imgstore:"


class KeptCopy(NamedTuple):
    """A copy as its volume says: of which image of which NAS, under which epoch, and what it is worth.

    `kind` is clean when it equals the snapshot of that guid, which its NAS has; dirty with changes on top of it;
    suspect when it says that it is clean, and is not.
    """

    zvol: str
    pool: str
    image_id: str
    nas: str
    epoch: int
    kind: str
    guid: Optional[str]
    used_bytes: int


def marked_copies(pools: PoolDriver, pool: str) -> List[KeptCopy]:
    """All copies in a pool as their marks say. What was set aside under another name is none."""
    found = (_marked(volume) for volume in pools.list_volumes(pool))
    return [copy for copy in found if copy is not None]


def looked_at(pools: PoolDriver, copy: KeptCopy) -> KeptCopy:
    """The same, with what it really is."""
    is_wrong = copy.kind == "clean" and not _is_clean(pools, copy)
    return copy._replace(kind="suspect") if is_wrong else copy


def spare_bytes(pools: PoolDriver, pool: str, spare: Mapping[str, str]) -> int:
    """What the pool would have besides, if all that may go went; `spare` is volume → guid, as the NAS has said."""
    if not spare:
        return 0
    return sum(copy.used_bytes for copy in marked_copies(pools, pool) if _may_go(copy, spare))


def make_room(
    pools: PoolDriver,
    pool: str,
    needed_bytes: int,
    spare: Mapping[str, str],
    is_idle: Callable[[str], bool],
) -> None:
    """Destroy copies that may go until so much is free, those that came home longest ago first.

    Those that are in use by then are left alone. Where that does not suffice, whoever needs the room is told by the
    pool itself.
    """
    if not spare or pools.read_pool(pool).free_bytes >= needed_bytes:
        return
    candidates = [copy for copy in marked_copies(pools, pool) if _may_go(copy, spare)]
    for copy in sorted(candidates, key=lambda copy: _returned_seconds(pools, copy)):
        if is_idle(copy.zvol) and looked_at(pools, copy).kind == "clean":
            forget_copy(pools, pool, copy.zvol)
            _log.info(
                "%s/%s has gone: its NAS has it, and %s are needed", pool, copy.zvol, gigabytes(needed_bytes)
            )
            if pools.read_pool(pool).free_bytes >= needed_bytes:
                return


def forget_copy(pools: PoolDriver, pool: str, zvol: str) -> None:
    """Destroy a copy with its snapshots; StateError when something was written since the newest of them."""
    volume = pools.read_volume(f"{pool}/{zvol}")
    if volume is None:
        return
    going = []
    for snapshot in pools.read_history(volume.name).snapshots:
        pools.ensure_released(volume.name, snapshot.name, snapshot.guid, names.HOLD_TAG)
        going.append((snapshot.name, snapshot.guid))
    pools.ensure_volume_gone(volume.name, volume.guid, going)


def _may_go(copy: KeptCopy, spare: Mapping[str, str]) -> bool:
    """Both must say it: the NAS that it has the snapshot and that nobody has the image, the copy that it equals it."""
    return copy.kind == "clean" and copy.guid is not None and spare.get(copy.zvol) == copy.guid


def _marked(volume: VolumeFact) -> Optional[KeptCopy]:
    said = {key[len(PROPERTY_PREFIX) :]: value for key, value in volume.properties}
    pool, _, zvol = volume.name.partition("/")
    is_copy = said.get("copy") in ("clean", "dirty") and said.get("volume", "").rpartition("/")[2] == zvol
    if not is_copy or not said.get("id") or not said.get("nas") or not said.get("epoch", "").isdigit():
        return None
    guid, epoch = said.get("base_guid"), int(said["epoch"])
    return KeptCopy(zvol, pool, said["id"], said["nas"], epoch, said["copy"], guid, volume.used_bytes)


def _returned_seconds(pools: PoolDriver, copy: KeptCopy) -> int:
    newest = pools.read_history(f"{copy.pool}/{copy.zvol}").newest
    return 0 if newest is None else newest.created_seconds


def _is_clean(pools: PoolDriver, copy: KeptCopy) -> bool:
    name = f"{copy.pool}/{copy.zvol}"
    newest = pools.read_history(name).newest
    if newest is None or newest.guid != copy.guid:
        return False
    return pools.written_since(name, newest.name, newest.guid) == 0
