"""The virtual functions of one guest: set before it starts, taken back when it is gone, set again after a boot."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import Dict, Iterator, List, Tuple

from rocks.devices.change import Change
from rocks.devices.sriov.driver import VfDriver
from rocks.devices.sriov.records import AssignedVfs, VfRecords, boot_id
from rocks.devices.state_folder import locked
from rocks.errors import RocksError
from rocks.wire.agent import VfSpec

_DEADLINE_SECONDS = 20.0
_BUSY = (
    "guests with virtual functions are starting on this host, so their number cannot be changed; try again"
)

Addresses = Dict[str, str]
"""MAC address → PCI address of the function that has it."""


@contextmanager
def vf_counts_locked(driver: VfDriver, state_folder: Path, vfs: Tuple[VfSpec, ...]) -> Iterator[None]:
    """Have the adapters give the functions, and let nobody change their number meanwhile; nothing without functions.

    Making functions removes all of an adapter first: none may be on its way to a guest then. What is there already is
    not touched. The errors of `VfDriver.ensure_count`; BusyError when the lock is not had in time.
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
    """As `VfDriver.ensure_count`, while no function is on its way to a guest. BusyError when that lasts."""
    with locked(_lock(state_folder), shared=False, deadline_seconds=_DEADLINE_SECONDS, busy=_BUSY):
        return driver.ensure_count(device, count)


def _lock(state_folder: Path) -> Path:
    return state_folder / "functions.lock"


def assign_vfs(
    driver: VfDriver,
    records: VfRecords,
    name: str,
    token: int,
    vfs: Tuple[VfSpec, ...],
) -> Addresses:
    """Set the functions for the guest under its lease, which must be held; those that it had before are given back.

    The errors of `VfDriver.ensure`.
    """
    before = records.read(name)
    if before is None and not vfs:
        return {}
    requested = {(vf.device, vf.number) for vf in vfs}
    gone = records.of_others(name) | requested
    left = tuple(f for f in before.vfs if (f.device, f.number) not in gone) if before else ()
    records.write(name, AssignedVfs(token, "", left + vfs))
    for vf in left:
        driver.ensure_free(vf)
    addresses = {vf.mac: driver.ensure(vf).address for vf in vfs}
    if vfs:
        records.write(name, AssignedVfs(token, boot_id(), vfs))
    else:
        records.remove(name)
    return addresses


def take_back(driver: VfDriver, records: VfRecords, name: str) -> Tuple[str, ...]:
    """Have the functions of a guest that is gone be nobody's; notes of those that cannot be, whose record stays."""
    given = records.read(name)
    if given is None:
        return ()
    left: List[VfSpec] = []
    notes: List[str] = []
    others = records.of_others(name)
    for vf in given.vfs:
        if (vf.device, vf.number) in others:
            continue  # somebody else's by now
        try:
            driver.ensure_free(vf)
        except RocksError as error:
            left.append(vf)
            notes.append(f"function {vf.number} of {vf.device} still has the settings of {name}: {error}")
    if left:
        records.write(name, AssignedVfs(given.token, "", tuple(left)))
    else:
        records.remove(name)
    return tuple(notes)


def restore(
    driver: VfDriver, records: VfRecords, state_folder: Path, name: str, given: AssignedVfs
) -> Addresses:
    """Set the functions of a guest again that is starting without our help, as it does when its host boots."""
    with vf_counts_locked(driver, state_folder, given.vfs):
        addresses = {vf.mac: driver.ensure(vf).address for vf in given.vfs}
    records.write(name, AssignedVfs(given.token, boot_id(), given.vfs))
    return addresses
