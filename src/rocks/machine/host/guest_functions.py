"""Virtual functions of domains: assigned before the start, released after the end."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Iterator, Tuple

from rocks.core.errors import RocksError, StateError
from rocks.fleet.wire.facts import AdapterFacts, AdaptersRequest
from rocks.fleet.wire.requests import StartDomain
from rocks.machine.host.host import Host
from rocks.machine.host.libvirt.domain_xml import DomainDocument, vf_addresses, with_vf_addresses
from rocks.machine.host.libvirt.driver import is_active
from rocks.network.sriov.host.guests import assign_vfs, ensure_count, restore, take_back, vf_counts_locked
from rocks.network.sriov.host.records import boot_id


@contextmanager
def vfs_locked(host: Host, operation: StartDomain) -> Iterator[None]:
    """Lock the number of VFs from making them until the guest uses them; a failed start releases its VFs."""
    if not operation.vfs and host.assigned_vfs.read(operation.name) is None:
        yield  # without the netlink library, which takes time to load
        return
    with vf_counts_locked(host.vfs(), host.state_folder, operation.vfs):
        try:
            yield
        except RocksError:
            release_vfs(host, operation.name)
            raise


def assign(host: Host, operation: StartDomain, document: DomainDocument) -> DomainDocument:
    """Configure the VFs; returns the document with their addresses. The caller holds `vfs_locked`."""
    if not operation.vfs and host.assigned_vfs.read(operation.name) is None:
        return with_vf_addresses(document, {})
    addresses = assign_vfs(host.vfs(), host.assigned_vfs, operation.name, operation.token, operation.vfs)
    return with_vf_addresses(document, addresses)


def release_vfs(host: Host, name: str) -> Tuple[str, ...]:
    """Release the VFs of a machine that does not run; returns failures as notes.

    The caller holds the machine's lock. A running machine keeps its VFs.
    """
    try:
        if host.assigned_vfs.read(name) is None or is_active(host.domains(), name):
            return ()
        return take_back(host.vfs(), host.assigned_vfs, name)
    except RocksError as error:
        return (f"the virtual functions of {name} were not released: {error}",)


def release_older_vfs(host: Host, name: str, below_token: int) -> bool:
    """As `release_vfs`, for leases below the token; returns whether no VF of such a lease remains."""
    assigned = host.assigned_vfs.read(name)
    return assigned is None or assigned.token >= below_token or not release_vfs(host, name)


def restore_vfs(host: Host, document: DomainDocument) -> None:
    """Configure the VFs of a domain that is about to start, unless done since this boot; does not call libvirt.

    StateError when the domain's XML names other VFs than the host has now.
    """
    assigned = host.assigned_vfs.read(document.name)
    expected = vf_addresses(document)
    if assigned is None or assigned.token != document.token or assigned.boot == boot_id() or not expected:
        return
    found = restore(host.vfs(), host.assigned_vfs, host.state_folder, document.name, assigned)
    if any(expected.get(mac) != address for mac, address in found.items()):
        raise StateError(
            f"the virtual functions of {document.name} have other addresses on this host than before; "
            f"run `rocks start host vm {document.name}` on the frontend"
        )


def read_adapters(host: Host, request: AdaptersRequest) -> AdapterFacts:
    """The adapters, after VFs have been made where the request needs more than there are."""
    driver = host.vfs()
    for spec in request.adapters:
        if spec.count:
            ensure_count(driver, host.state_folder, spec.device, spec.count)
    return AdapterFacts(tuple(driver.read(spec.device) for spec in request.adapters))
