"""Bring the images of virtual machines home when they have ended, and see that none is away when one is removed.

Machines without an image on a NAS cost a single statement: nothing of image storage is loaded then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.database.image_places import disk_locations
from rocks.errors import RocksError, StateError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rocks.cluster.image_places import DiskLocation
    from rocks.database.connection import Database
    from rocks.imgstorage.client import Watcher


def unmap_vm_images(database: Database, names: Sequence[str], watcher: Watcher) -> Mapping[str, RocksError]:
    """Unmap all images of the named machines; returns when the NASes have all of them, with the errors by machine.

    What nobody has is as wanted; a machine that runs is an error. A machine is locked until its NASes have the
    request, then the connection to the database is closed: it may last hours.
    """
    kept = [disk for disk in disk_locations(database, names) if disk.nas]
    if not kept:
        return {}
    from rocks.actions.reach_storage import open_storage
    from rocks.actions.undo_maps import is_home_already
    from rocks.actions.vm_locks import lock_vms
    from rocks.imgstorage.client import questions
    from rocks.imgstorage.client.asking import WRITE_BACK_SECONDS

    machines = list(dict.fromkeys(disk.vm for disk in kept))
    failed: dict[str, RocksError] = {**lock_vms(database, machines)}
    failed.update(_running(database, [name for name in machines if name not in failed]))
    storage = open_storage(database)
    database.commit()
    wanted = {
        _volume(disk): questions.unmap_image(disk.nas, _volume(disk))
        for disk in kept
        if disk.vm not in failed
    }
    with storage:
        answers = storage.wait_each(wanted, WRITE_BACK_SECONDS, watcher, database.close)
    for disk in kept:
        answer = answers.get(_volume(disk))
        if isinstance(answer, RocksError) and not is_home_already(answer):
            failed.setdefault(disk.vm, answer)
    return failed


def check_no_mapped_images(database: Database, names: Sequence[str]) -> list[str]:
    """StateError when a host has an image of one of the machines; returns warnings about NASes that do not answer."""
    kept = [disk for disk in disk_locations(database, names) if disk.nas]
    if not kept:
        return []
    from rocks.actions.reach_storage import open_storage
    from rocks.imgstorage.client import questions

    nases = sorted({disk.nas for disk in kept})
    warnings = []
    try:
        client = open_storage(database)
    except StateError:
        return []  # without a certificate this machine has never mapped anything
    try:
        with client as storage:
            answers = storage.ask_each({nas: questions.images_of(nas) for nas in nases})
    except RocksError as error:
        answers = dict.fromkeys(nases, error)
    for nas in nases:
        rows = answers[nas]
        mine = [disk for disk in kept if disk.nas == nas]
        if isinstance(rows, RocksError):
            volumes = ", ".join(_volume(disk) for disk in mine)
            warnings.append(
                f"Warning: whether a host still has {volumes} of {nas} is not known ({rows}); "
                f"rocks list host storagemap {nas} shows it"
            )
            continue
        owners = {row.zvol: row.remotehost for row in rows if row.remotehost is not None}
        for disk in mine:
            if _volume(disk) in owners:
                raise _still_mapped(disk, str(owners[_volume(disk)]))
    return warnings


def _running(database: Database, names: Sequence[str]) -> dict[str, RocksError]:
    """Those of the machines that run, as their hosts say: the news that one has ended may be older than its next start.

    A host that does not answer is no obstacle: its daemon takes no device from a guest.
    """
    from rocks.actions.ask_hosts import ask_facts
    from rocks.actions.reach_hosts import open_fleet
    from rocks.cluster.lease_plan import place_of
    from rocks.cluster.start_plan import is_active
    from rocks.database.leases import read_leases
    from rocks.database.vms import load_vms

    held = read_leases(database, names)
    places = {vm.name: place_of(vm, held.get(vm.name.lower())) for vm in load_vms(database, names)}
    hosts = sorted({place for place in places.values() if place is not None})
    with open_fleet(database, hosts) as fleet:
        facts = ask_facts(database, fleet, hosts)
    found: dict[str, RocksError] = {}
    for name, place in places.items():
        answer = None if place is None else facts[place]
        if answer is not None and not isinstance(answer, RocksError) and is_active(answer, name):
            found[name] = StateError(
                f"the machine {name} is running on {place}, so its image stays there: rocks stop host vm {name}"
            )
    return found


def _still_mapped(disk: DiskLocation, owner: str) -> StateError:
    return StateError(
        f"host {disk.vm} is not removed: {owner} has its image {disk.nas}:{_volume(disk)}, perhaps with changes; stop "
        f"the machine and bring it home with rocks stop host vm {disk.vm} terminate=true, then remove the machine"
    )


def _volume(disk: DiskLocation) -> str:
    from rocks.cluster.image_plan import volume_name

    return volume_name(disk.vm, disk.number)
