"""The VFs of one guest: recorded and configured before it starts, released after it stops, restored after a boot."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Set, Tuple

from rocks.core.dataclasses import dataclass
from rocks.core.errors import IncoherentError, RocksError
from rocks.core.files import text_if_readable, write_file
from rocks.fleet.host.change import Change
from rocks.fleet.host.state_folder import (
    Place,
    RecordKind,
    damaged,
    ensure_folder,
    locked,
    read_json_record,
    remove_record,
)
from rocks.fleet.wire.codec import decode_lenient, encode
from rocks.fleet.wire.requests import VfSpec
from rocks.leases.host.leases import check_name
from rocks.network.sriov.host.rules import VfDriver

# Records of the VFs that are assigned to guests, with the lease: a file for each virtual machine.
#
# A record is written before a VF is configured and removed after all are released. So after a crash, the next stop,
# start or fence of the machine finds the VFs that it must release. After a boot the VFs are configured from the
# records.


@dataclass(frozen=True)
class AssignedVfs:
    """VFs of a guest under the lease `token`; `boot` is the boot ID under which they were last configured.

    The names are those of the file.
    """

    token: int
    boot: str
    functions: Tuple[VfSpec, ...]


class VfRecords:
    """The files in the folder `functions` of the state folder."""

    def __init__(self, state_folder: Path) -> None:
        self._folder = Place.VFS.below(state_folder)

    def read(self, name: str) -> Optional[AssignedVfs]:
        """The record of a virtual machine, None when there is none. IncoherentError when the file is damaged."""
        path = self._path(name)
        kind = RecordKind(
            f"the record of the virtual functions of {name}",
            f"if {name} is not running on this host, remove the file",
        )
        value = read_json_record(path, kind)
        if value is None:
            return None
        try:
            return decode_lenient(AssignedVfs, value, "record")
        except IncoherentError as error:
            raise damaged(path, kind, error) from None

    def write(self, name: str, assigned: AssignedVfs) -> None:
        """Write the record atomically."""
        ensure_folder(self._folder)
        write_file(self._path(name), json.dumps(encode(assigned), indent=1) + "\n")

    def remove(self, name: str) -> None:
        """Remove the record. HostError when that fails."""
        remove_record(self._path(name))

    def of_others(self, name: str) -> Set[Tuple[str, int]]:
        """(device, number) of all VFs of other virtual machines; damaged records are ignored."""
        found: Set[Tuple[str, int]] = set()
        for path in self._folder.glob("[!.]*.json"):
            if path.name != self._path(name).name:
                try:
                    assigned = self.read(path.name[: -len(".json")])
                except RocksError:
                    continue
                found.update((vf.device, vf.number) for vf in (assigned.functions if assigned else ()))
        return found

    def _path(self, name: str) -> Path:
        return self._folder / f"{check_name(name)}.json"


def boot_id() -> str:
    """The boot ID of the kernel; empty when it cannot be read."""
    return text_if_readable(Path("/proc/sys/kernel/random/boot_id"))


# The VFs of one guest: configured before it starts, released after it stops, restored after a boot.

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
