"""libvirt's hook on this host: a domain starts only with its lease, devices and packet filter, whatever starts it.

libvirt 9.0 calls /etc/libvirt/hooks/qemu and each program in /etc/libvirt/hooks/qemu.d first. The arguments are the
domain's name, the operation, the sub-operation and an extra argument; the domain's XML is on standard input. Exit
status 1 prevents the start, and standard error becomes part of libvirt's error. A hook must not call libvirt.

`prepare` comes before libvirt makes any device. At `start` the host's end of each interface exists, is still down and
is named in the XML; QEMU is executed next (9.0, qemuProcessLaunch). A filter that is set at `start` is in force before
the guest can send its first frame, also at an autostart and at `virsh start`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Sequence

from rocks.core.errors import RocksError, StateError
from rocks.core.files import write_file
from rocks.fleet.host.state_folder import Place
from rocks.leases.host.leases import Leases
from rocks.machine.host.libvirt.domain_xml import DomainDocument, parse_domain, vf_addresses

_BEFORE_START = ("prepare", "begin")
_BEFORE_EXECUTION = ("start", "begin")
_AFTER_END = ("release", "end")
_ENDS = (Place.RELEASED, Place.ENDED)


def check_start(arguments: Sequence[str], xml: str, state_folder: Path) -> None:
    """Check and prepare the start of a domain; domains of others are ignored.

    When libvirt starts the domain by itself after a boot of the host, its virtual functions and network devices are
    made again here. StateError when its lease was taken over; other errors as devices and filters raise them.
    """
    operation = tuple(arguments[1:3])
    if operation not in (_BEFORE_START, _BEFORE_EXECUTION):
        return
    document = parse_domain(xml)
    if document.token is None:
        return
    if operation == _BEFORE_EXECUTION:
        if document.is_filtered:
            _secure(document, state_folder)
        return
    _check_lease(document, state_folder)
    if vf_addresses(document):
        _restore_vfs(document, state_folder)
    # `network.host.stored_links` takes long to import
    if (Place.LINKS.below(state_folder) / document.name).exists():
        _ensure_devices(document, state_folder)


def _secure(document: DomainDocument, state_folder: Path) -> None:
    # libvirt waits for the hook at each operation on each domain; most of them do not need these imports of 0.1 s
    from rocks.machine.host.guest_network import ensure_secured
    from rocks.machine.host.host import Host

    ensure_secured(Host(state_folder), document)


def _ensure_devices(document: DomainDocument, state_folder: Path) -> None:
    from rocks.machine.host.guest_network import ensure_planned
    from rocks.machine.host.host import Host

    ensure_planned(Host(state_folder), document.name)


def _restore_vfs(document: DomainDocument, state_folder: Path) -> None:
    from rocks.machine.host.guest_network import restore_vfs
    from rocks.machine.host.host import Host

    restore_vfs(Host(state_folder), document)


def _check_lease(document: DomainDocument, state_folder: Path) -> None:
    known = Leases(state_folder).remembered(document.name)
    if known is not None and document.token is not None and document.token < known:
        raise StateError(
            f"{document.name} belongs to lease {document.token}, but this host has seen lease {known}; "
            f"run `rocks start host vm {document.name}` on the frontend"
        )


def restore_machine_partition(arguments: Sequence[str], state_folder: Path) -> None:
    """Configure the machine's InfiniBand VF before a start, also by libvirt itself. RocksError when that fails."""
    if (
        tuple(arguments[1:3]) == _BEFORE_START
        and (Place.PARTITIONS.below(state_folder) / arguments[0]).is_file()
    ):
        from rocks.machine.host.guest_partitions import restore_partition
        from rocks.machine.host.host import Host

        restore_partition(Host(state_folder), arguments[0])


def note_end(arguments: Sequence[str], xml: str, state_folder: Path) -> None:
    """Note that a machine has ended: for the image daemon, so that its changes are written back, and for the frontend.

    A note has the name of the machine and contains its lease, if any; only machines with a lease are the frontend's.
    Who reads the notes makes the folder and removes them; without the folder none is written. A file whose name begins
    with a dot is incomplete. HostError for a note that cannot be written.
    """
    if tuple(arguments[1:3]) != _AFTER_END or "/" in arguments[0]:
        return
    folders = [place for place in _ENDS if place.below(state_folder).is_dir()]
    if not folders:
        return
    try:
        token = parse_domain(xml).token
    except RocksError:
        token = None  # the end is reported even when the XML is invalid
    for place in folders:
        if place is Place.RELEASED or token is not None:
            write_file(place.below(state_folder) / arguments[0], "" if token is None else str(token))
