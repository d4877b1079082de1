"""The VFs of one guest: configured before it starts, released after it stops, restored after a boot."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import Dict, Iterator, List, Tuple

from rocks.core.errors import RocksError
from rocks.fleet.host.change import Change
from rocks.fleet.host.state_folder import Place, locked
from rocks.fleet.wire.requests import VfSpec
from rocks.network.sriov.host.driver import VfDriver
from rocks.network.sriov.host.records import AssignedVfs, VfRecords, boot_id

_DEADLINE_SECONDS = 20.0
_BUSY = (
    "guests with virtual functions are starting on this host, so their number cannot be changed; try again"
)

Addresses = Dict[str, str]
"""MAC address → PCI address of its VF."""


@contextmanager
def vf_counts_locked(driver: VfDriver, state_folder: Path, vfs: Tuple[VfSpec, ...]) -> Iterator[None]:
    """Create the VFs if necessary, and lock the numbers of VFs meanwhile; no effect without `vfs`.

    Creating VFs removes all VFs of an adapter first, so no guest may be starting with one. Existing VFs are not
    changed. Errors as `VfDriver.ensure_count`; BusyError when the lock is not acquired in time.
    """
    if not vfs:
        yield
        return
    for spec in vfs:
        if len(driver.read(spec.device).vfs) <= spec.number:
            ensure_count(driver, state_folder, spec.device, spec.count)
    with locked(_lock(state_folder), shared=True, deadline_seconds=_DEADLINE_SECONDS, busy=_BUSY):
        yield


def ensure_count(driver: VfDriver, state_folder: Path, device: str, count: int) -> Change:
    """As `VfDriver.ensure_count`, while no guest is starting with a VF. BusyError when the lock is not acquired."""
    with locked(_lock(state_folder), shared=False, deadline_seconds=_DEADLINE_SECONDS, busy=_BUSY):
        return driver.ensure_count(device, count)


def _lock(state_folder: Path) -> Path:
    return Place.VFS_LOCK.below(state_folder)


def assign_vfs(
    driver: VfDriver,
    records: VfRecords,
    name: str,
    token: int,
    vfs: Tuple[VfSpec, ...],
) -> Addresses:
    """Configure VFs for the guest under its lease, which the caller holds; release VFs that it no longer has.

    Errors as `VfDriver.ensure`.
    """
    before = records.read(name)
    requested = {(vf.device, vf.number) for vf in vfs}
    not_released = records.of_others(name) | requested
    released = (
        tuple(f for f in before.functions if (f.device, f.number) not in not_released) if before else ()
    )
    records.write(name, AssignedVfs(token, "", released + vfs))
    for vf in released:
        driver.ensure_free(vf)
    addresses = {vf.mac: driver.ensure(vf).address for vf in vfs}
    if vfs:
        records.write(name, AssignedVfs(token, boot_id(), vfs))
    else:
        records.remove(name)
    return addresses


def take_back(driver: VfDriver, records: VfRecords, name: str) -> Tuple[str, ...]:
    """Release the VFs of a stopped guest; returns notes on failures, whose record stays."""
    given = records.read(name)
    if given is None:
        return ()
    left: List[VfSpec] = []
    notes: List[str] = []
    others = records.of_others(name)
    for vf in given.functions:
        if (vf.device, vf.number) in others:
            continue  # assigned to another guest meanwhile
        try:
            driver.ensure_free(vf)
        except RocksError as error:
            left.append(vf)
            notes.append(
                f"virtual function {vf.number} of {vf.device} still has the settings of {name}: {error}"
            )
    if left:
        records.write(name, AssignedVfs(given.token, "", tuple(left)))
    else:
        records.remove(name)
    return tuple(notes)


def restore(
    driver: VfDriver, records: VfRecords, state_folder: Path, name: str, given: AssignedVfs
) -> Addresses:
    """Configure the VFs again for a guest that libvirt starts by itself, as when its host boots."""
    with vf_counts_locked(driver, state_folder, given.functions):
        addresses = {vf.mac: driver.ensure(vf).address for vf in given.functions}
    records.write(name, AssignedVfs(given.token, boot_id(), given.functions))
    return addresses
