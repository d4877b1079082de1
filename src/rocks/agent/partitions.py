"""InfiniBand functions of machines that start and end: each sees its own cluster's key, and none when it is free.

What a machine was given is remembered in `partitions/<machine>` of the state folder, from before it is given until it
is taken back: after a crash the next start finds it, and libvirt's hook gives it again after a reboot of the host, when
mlx4 has forgotten its maps.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import Dict, Iterator, List, Optional, Sequence, Tuple

from rocks.agent.host import Host
from rocks.devices.leases import check_name
from rocks.devices.libvirt.checks import is_active
from rocks.devices.state_folder import ensure_folder, locked, read_json, write_whole
from rocks.errors import RocksError, StateError
from rocks.wire.codec import decode, encode
from rocks.wire.infiniband import InfinibandFacts, InfinibandRequest, PartitionSpec, VfFact

FOLDER = "partitions"
_LOCK_DEADLINE_SECONDS = 30.0


def give_partition(
    host: Host, name: str, addresses: Sequence[str], wanted: Optional[PartitionSpec]
) -> Tuple[str, ...]:
    """Have the InfiniBand function among these PCI addresses be in the machine's partition; returns notes.

    A machine without a partition gets its function cleared of what another was given. StateError when there are two
    such functions, for the machine has GUIDs for one, when another machine runs on it, or when the subnet manager does
    not give the key.
    """
    if not addresses and not (host.state_folder / FOLDER / check_name(name)).exists():
        return ()
    with _held(host):
        functions = [address for address in addresses if host.pkeys().is_vf(address)]
        _take_from_others(host, name, functions)
        if wanted is None or not functions:
            return ()
        if len(functions) > 1:
            raise StateError(
                f"{name} has GUIDs for one InfiniBand function, but its XML has {' and '.join(functions)}"
            )
        _remember(host, name, functions, wanted)
    # Not under the lock: it waits for the subnet manager, and the function is the machine's by now.
    return host.pkeys().ensure(functions[0], wanted).notes


def give_again(host: Host, name: str) -> None:
    """What a machine was given before it is started by libvirt itself. StateError when it cannot be had."""
    if not (host.state_folder / FOLDER / check_name(name)).exists():
        return
    addresses, wanted = _read(host, name)
    if wanted is not None:
        for address in addresses:
            host.pkeys().ensure(address, wanted)


def take_back(host: Host, name: str) -> Tuple[str, ...]:
    """Clear the functions of a machine that has ended; that it failed is only worth a note."""
    if not (host.state_folder / FOLDER / check_name(name)).exists():
        return ()
    try:
        with _held(host):
            for address in _read(host, name)[0]:
                if host.pkeys().is_vf(address):
                    host.pkeys().clear(address)
            _forget(host, name)
    except RocksError as error:
        return (f"an InfiniBand function keeps its key until the next start: {error}",)
    return ()


def read_infiniband(host: Host, request: InfinibandRequest) -> InfinibandFacts:
    """The adapters of this host, and where the kernel's files are not as they should be."""
    from rocks.devices.infiniband.check import departures, try_vf

    machines = {address: name for name, (had, _) in _read_all(host).items() for address in had}
    driver = host.pkeys()
    if request.tried_vf and request.tried_vf in machines:
        raise StateError(f"{request.tried_vf} is that of {machines[request.tried_vf]}; name a free one")
    wrong = departures(host.sysfs, driver)
    if request.tried_vf:
        wrong += try_vf(host.sysfs, driver, request.tried_vf)
    functions = []
    for function in driver.functions():
        keys = driver.visible_keys(function.address) if function.door == "index_map" else None
        functions.append(
            VfFact(
                function.address,
                function.device,
                function.number,
                function.door,
                keys,
                machines.get(function.address, ""),
            )
        )
    return InfinibandFacts(tuple(driver.ports()), tuple(functions), tuple(wrong))


def _take_from_others(host: Host, name: str, functions: Sequence[str]) -> None:
    """Clear what the machine had before, and what a crash left to others of these functions; a running one keeps it."""
    for other, (had, _) in _read_all(host).items():
        if other != name:
            if not set(had) & set(functions):
                continue
            if is_active(host.domains(), other):
                raise StateError(
                    f"the InfiniBand function {had[0]} is that of {other}, which runs; give {name} another"
                )
        for address in had:
            if host.pkeys().is_vf(address):
                host.pkeys().clear(address)
        _forget(host, other)


@contextmanager
def _held(host: Host) -> Iterator[None]:
    ensure_folder(host.state_folder)
    path = host.state_folder / f"{FOLDER}.lock"
    busy = "another command is setting InfiniBand functions of this host; try again when it has ended"
    with locked(path, shared=False, deadline_seconds=_LOCK_DEADLINE_SECONDS, busy=busy):
        yield


def _read_all(host: Host) -> Dict[str, Tuple[List[str], Optional[PartitionSpec]]]:
    folder = host.state_folder / FOLDER
    return {
        entry.name: _read(host, entry.name) for entry in sorted(folder.glob("*")) if entry.name[:1] != "."
    }


def _read(host: Host, name: str) -> Tuple[List[str], Optional[PartitionSpec]]:
    path = host.state_folder / FOLDER / name
    found = read_json(path)
    if not found:
        return [], None
    functions = [str(address) for address in found.get("functions", ())]
    return functions, decode(PartitionSpec, found.get("wanted"), str(path))


def _remember(host: Host, name: str, functions: Sequence[str], wanted: PartitionSpec) -> None:
    folder = ensure_folder(host.state_folder / FOLDER)
    write_whole(folder / name, json.dumps({"functions": list(functions), "wanted": encode(wanted)}))


def _forget(host: Host, name: str) -> None:
    (host.state_folder / FOLDER / name).unlink(missing_ok=True)
