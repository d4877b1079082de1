"""libvirt's hook on this host: no start without lease, devices and packet filter, whoever starts the domain.

libvirt 9.0 calls /etc/libvirt/hooks/qemu and each program in /etc/libvirt/hooks/qemu.d with the domain's name, the
operation, its part and one more word, the domain's XML on standard input, before anything else; exit status 1 prevents
the start, and what is on standard error becomes part of the error. A hook must not call libvirt.

`prepare` comes before libvirt makes anything. At `start` the host's side of each interface is there, still down, and
named in the XML, and QEMU is about to be executed (9.0, qemuProcessLaunch): a filter that is set then is there before
the guest can send its first frame, at an autostart and at `virsh start` as well.
"""

from __future__ import annotations

from pathlib import Path
from typing import Sequence

from rocks.devices.leases import Leases
from rocks.devices.libvirt.domain_xml import DomainDocument, parse_domain, vf_addresses
from rocks.errors import RocksError, StateError

_BEFORE_START = ("prepare", "begin")
_BEFORE_EXECUTION = ("start", "begin")
_AFTER_END = ("release", "end")

PARTITIONS_FOLDER = "partitions"
"""Below the state folder: a file for each machine with an InfiniBand function (`agent.partitions`)."""

RELEASED_FOLDER = Path("imgstorage") / "released"
"""Below the state folder: a file for each machine that has ended, with the lease under which it ran, if any, in it. The
image daemon of this host makes the folder, and takes the files away; without the folder nobody wants to know. A file
whose name begins with a dot is still being written."""


def check_start(arguments: Sequence[str], xml: str, state_folder: Path) -> None:
    """Let a domain start when all is as it must be; domains that are not of this system may.

    Where libvirt starts it by itself after the host has booted, its virtual functions and network devices are made
    again here. StateError when its lease was taken over; other errors as devices and filters raise them.
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
    if (state_folder / "links" / document.name).exists():  # `devices.link_plans` takes long to import
        _ensure_devices(document, state_folder)


def _secure(document: DomainDocument, state_folder: Path) -> None:
    # libvirt waits for the hook at every step of every domain: what most of them do not need takes 0.1 s to import
    from rocks.agent.host import Host
    from rocks.agent.links import secured

    secured(Host(state_folder), document)


def _ensure_devices(document: DomainDocument, state_folder: Path) -> None:
    from rocks.agent.host import Host
    from rocks.agent.links import ensure_planned

    ensure_planned(Host(state_folder), document.name)


def _restore_vfs(document: DomainDocument, state_folder: Path) -> None:
    from rocks.agent.host import Host
    from rocks.agent.vfs import restore_vfs

    restore_vfs(Host(state_folder), document)


def _check_lease(document: DomainDocument, state_folder: Path) -> None:
    known = Leases(state_folder).remembered(document.name)
    if known is not None and document.token is not None and document.token < known:
        raise StateError(
            f"{document.name} belongs to lease {document.token}, but this host has seen lease {known}: "
            f"start it with `rocks start host vm {document.name}` on the frontend"
        )


def give_partition_again(arguments: Sequence[str], state_folder: Path) -> None:
    """Have the machine's InfiniBand function see its key, also when libvirt starts it by itself; else RocksError."""
    if tuple(arguments[1:3]) == _BEFORE_START and (state_folder / PARTITIONS_FOLDER / arguments[0]).is_file():
        from rocks.agent.host import Host
        from rocks.agent.partitions import give_again

        give_again(Host(state_folder), arguments[0])


def note_end(arguments: Sequence[str], xml: str, state_folder: Path) -> None:
    """Tell the image daemon that a machine has ended, so that its changes come home. OSError when that fails."""
    folder = state_folder / RELEASED_FOLDER
    if tuple(arguments[1:3]) != _AFTER_END or "/" in arguments[0] or not folder.is_dir():
        return
    try:
        token = parse_domain(xml).token
    except RocksError:
        token = None  # that it has ended is true whatever its description is like
    written = folder / f".{arguments[0]}"
    written.write_text("" if token is None else str(token))
    written.replace(folder / arguments[0])
