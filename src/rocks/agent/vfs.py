"""Virtual functions around a deed: given before the domain starts, taken back when it is gone."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Iterator, Tuple

from rocks.agent.host import Host
from rocks.devices.libvirt.checks import is_active
from rocks.devices.libvirt.domain_xml import DomainDocument, vf_addresses, with_functions
from rocks.devices.sriov.guests import assign_vfs, ensure_count, restore, take_back, vf_counts_locked
from rocks.devices.sriov.records import boot_id
from rocks.devices.sriov.rules import check_function
from rocks.errors import RocksError, StateError
from rocks.wire.agent import StartDomain
from rocks.wire.facts import AdapterFacts, AdaptersRequest


def check_vfs(operation: StartDomain) -> None:
    """UserError for functions that cannot be."""
    for function in operation.functions:
        check_function(function)


@contextmanager
def vfs_locked(host: Host, operation: StartDomain) -> Iterator[None]:
    """From making the functions to the guest having them; a start that failed leaves none with its settings."""
    if not operation.functions and host.assigned_vfs.read(operation.name) is None:
        yield  # without netlink, which takes time to load
        return
    with vf_counts_locked(host.functions(), host.state_folder, operation.functions):
        try:
            yield
        except RocksError:
            take_back_vfs(host, operation.name)
            raise


def give(host: Host, operation: StartDomain, document: DomainDocument) -> DomainDocument:
    """Set the functions; the document with their addresses. To be called while they are held."""
    if not operation.functions and host.assigned_vfs.read(operation.name) is None:
        return with_functions(document, {})
    addresses = assign_vfs(
        host.functions(), host.assigned_vfs, operation.name, operation.token, operation.functions
    )
    return with_functions(document, addresses)


def take_back_vfs(host: Host, name: str) -> Tuple[str, ...]:
    """Have the functions of a machine that is not running be nobody's; notes of what could not be done.

    To be called while the machine is held. Nothing is done for one that runs, or never had any.
    """
    try:
        if host.assigned_vfs.read(name) is None or is_active(host.domains(), name):
            return ()
        return take_back(host.functions(), host.assigned_vfs, name)
    except RocksError as error:
        return (f"the virtual functions of {name} were left as they are: {error}",)


def take_back_older(host: Host, name: str, below_token: int) -> bool:
    """As `take_back_vfs`, of a lease that was overtaken; whether nothing of it is left."""
    given = host.assigned_vfs.read(name)
    return given is None or given.token >= below_token or not take_back_vfs(host, name)


def restore_vfs(host: Host, document: DomainDocument) -> None:
    """Set the functions of a domain that is about to start, unless they are since this boot; libvirt is not asked.

    StateError when the domain's document names other functions than the host has them now.
    """
    given = host.assigned_vfs.read(document.name)
    wanted = vf_addresses(document)
    if given is None or given.token != document.token or given.boot == boot_id() or not wanted:
        return
    found = restore(host.functions(), host.assigned_vfs, host.state_folder, document.name, given)
    if any(wanted.get(mac) != address for mac, address in found.items()):
        raise StateError(
            f"the virtual functions of {document.name} are elsewhere on this host than they were: start it with "
            f"`rocks start host vm {document.name}` on the frontend"
        )


def read_adapters(host: Host, request: AdaptersRequest) -> AdapterFacts:
    """The adapters; where more functions are wanted than are there, made first."""
    driver = host.functions()
    for wanted in request.adapters:
        if wanted.count:
            ensure_count(driver, host.state_folder, wanted.device, wanted.count)
    return AdapterFacts(tuple(driver.read(wanted.device) for wanted in request.adapters))
