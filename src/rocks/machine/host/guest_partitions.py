"""InfiniBand VFs of machines that start and end: a VF in use has the key of its cluster, a free VF has none.

`partitions/<machine>` of the state folder records the VFs of a machine and its partition, from before the assignment
until after the release. After a crash the next start finds the record. After a reboot of the host, when mlx4 has lost
its maps, libvirt's hook restores the assignment from it.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import Dict, Iterator, List, Optional, Sequence, Tuple

from rocks.core.errors import IncoherentError, RocksError, StateError
from rocks.core.files import write_file
from rocks.fleet.host.state_folder import (
    Place,
    RecordKind,
    damaged,
    ensure_folder,
    locked,
    read_json_record,
    record_names,
    remove_record,
)
from rocks.fleet.wire.codec import decode, decode_lenient, encode
from rocks.fleet.wire.requests import InfinibandFacts, InfinibandRequest, InfinibandVfFact, PartitionSpec
from rocks.leases.host.leases import check_name
from rocks.machine.host.facts import starts_in_progress
from rocks.machine.host.host import Host
from rocks.machine.host.libvirt.driver import is_active

_Addresses = Tuple[str, ...]
_Record = Tuple[List[str], Optional[PartitionSpec]]
"""PCI addresses of a machine's VFs, and its partition."""

_LOCK_DEADLINE_SECONDS = 30.0


def ensure_partition(
    host: Host, name: str, addresses: Sequence[str], spec: Optional[PartitionSpec]
) -> Tuple[str, ...]:
    """Put the InfiniBand VF among these PCI addresses into the machine's partition; returns notes.

    The VF of a machine without a partition is cleared. StateError when there are two InfiniBand VFs, since a machine
    has GUIDs for one, when another machine that runs or is starting uses the VF, or when the subnet manager does not
    assign the key.
    """
    if not addresses and not (Place.PARTITIONS.below(host.state_folder) / check_name(name)).exists():
        return ()
    with _locked(host):
        vfs = [address for address in addresses if host.pkeys().is_vf(address)]
        _clear_others(host, name, vfs)
        if spec is None or not vfs:
            return ()
        if len(vfs) > 1:
            raise StateError(f"{name} has GUIDs for one InfiniBand VF, but its XML has {' and '.join(vfs)}")
        folder = ensure_folder(Place.PARTITIONS.below(host.state_folder))
        write_file(folder / name, json.dumps({"functions": list(vfs), "wanted": encode(spec)}))
    # without the lock: this waits for the subnet manager, and the VF is assigned by now
    return host.pkeys().ensure(vfs[0], spec).notes


def restore_partition(host: Host, name: str) -> None:
    """Configure the VFs of a machine again from its record. StateError when that is impossible."""
    addresses, spec = _read(host, check_name(name))
    if spec is not None:
        for address in addresses:
            host.pkeys().ensure(address, spec)


def release_partition(host: Host, name: str) -> Tuple[str, ...]:
    """Clear the VFs of a machine that has ended. A failure becomes a note."""
    if not (Place.PARTITIONS.below(host.state_folder) / check_name(name)).exists():
        return ()
    try:
        with _locked(host):
            for address in _read(host, name)[0]:
                if host.pkeys().is_vf(address):
                    host.pkeys().clear(address)
            _forget(host, name)
    except RocksError as error:
        return (f"an InfiniBand VF keeps its key until the next start: {error}",)
    return ()


def read_infiniband(host: Host, request: InfinibandRequest) -> InfinibandFacts:
    """The adapters of this host, and deviations of the kernel's files from their documentation."""
    from rocks.network.infiniband.host.hardware_check import departures, try_vf

    records, errors = _read_all(host)
    machines = {address: name for name, (vfs, _) in records.items() for address in vfs}
    driver = host.pkeys()
    if request.tried_vf and request.tried_vf in machines:
        raise StateError(f"{request.tried_vf} is in use by {machines[request.tried_vf]}; name a free VF")
    deviations = [*departures(host.sysfs, driver), *map(str, errors)]
    if request.tried_vf:
        deviations += try_vf(host.sysfs, driver, request.tried_vf)
    facts = []
    for vf in driver.vfs():
        keys = driver.visible_keys(vf.address) if vf.interface == "index_map" else None
        facts.append(
            InfinibandVfFact(
                vf.address, vf.device, vf.number, vf.interface, keys, machines.get(vf.address, "")
            )
        )
    return InfinibandFacts(tuple(driver.ports()), tuple(facts), tuple(deviations))


def _clear_others(host: Host, name: str, vfs: Sequence[str]) -> None:
    """Clear the former VFs of the machine, and those of these VFs that a crash left to others.

    StateError when another machine runs on one of them, or is starting with it.
    """
    _read(host, name)  # its own record must be readable: it names VFs that still have a key
    for other, (assigned, _) in _read_all(host)[0].items():
        if other != name:
            if not set(assigned) & set(vfs):
                continue
            # asked in this order: when a start is over, its domain is active
            starts, runs = other in starts_in_progress(host.state_folder), is_active(host.domains(), other)
            if starts or runs:
                raise StateError(
                    f"the InfiniBand VF {assigned[0]} is in use by {other} ({'running' if runs else 'starting'}); "
                    f"assign another VF to {name}"
                )
        for address in assigned:
            if host.pkeys().is_vf(address):
                host.pkeys().clear(address)
        _forget(host, other)


@contextmanager
def _locked(host: Host) -> Iterator[None]:
    ensure_folder(host.state_folder)
    path = Place.PARTITIONS_LOCK.below(host.state_folder)
    busy = "another command is configuring InfiniBand VFs of this host; repeat this one when it has ended"
    with locked(path, shared=False, deadline_seconds=_LOCK_DEADLINE_SECONDS, busy=busy):
        yield


def _read_all(host: Host) -> Tuple[Dict[str, _Record], List[RocksError]]:
    """Machine → its record, and the errors of damaged records: these do not stop the others."""
    found, errors = {}, []
    for name in record_names(Place.PARTITIONS.below(host.state_folder)):
        try:
            found[name] = _read(host, name)
        except RocksError as error:
            errors.append(error)
    return found, errors


def _read(host: Host, name: str) -> _Record:
    path = Place.PARTITIONS.below(host.state_folder) / name
    kind = RecordKind(
        f"the record of the InfiniBand VF of {name}",
        f"stop {name}, clear the VF (rocks check host infiniband lists all VFs and their keys), then remove the file",
    )
    found = read_json_record(path, kind)
    if found is None:
        return [], None
    try:
        # both keys are older than this version: hosts have records with them
        vfs: _Addresses = decode(_Addresses, _field(found, "functions"), "functions")
        return list(vfs), decode_lenient(PartitionSpec, _field(found, "wanted"), "wanted")
    except IncoherentError as error:
        raise damaged(path, kind, error) from None


def _field(found: object, name: str) -> object:
    if not isinstance(found, dict) or name not in found:
        raise IncoherentError(f"field {name}: missing")
    return found[name]


def _forget(host: Host, name: str) -> None:
    remove_record(Place.PARTITIONS.below(host.state_folder) / name)
