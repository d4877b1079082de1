"""libvirt's hook on this host: it refuses to start a domain whose lease has been taken over, and sets its functions.

libvirt 9.0 calls /etc/libvirt/hooks/qemu and each program in /etc/libvirt/hooks/qemu.d with the domain's name, the
operation, its part and one more word, the domain's XML on standard input, before anything else; exit status 1 prevents
the start, and what is on standard error becomes part of the error. A hook must not call libvirt.
"""

from __future__ import annotations

from pathlib import Path
from typing import Sequence

from rocks.devices.domain_xml import function_addresses, parse_domain
from rocks.devices.leases import Leases
from rocks.errors import RocksError, StateError

_BEFORE_START = ("prepare", "begin")
_AFTER_END = ("release", "end")

PARTITIONS_FOLDER = "partitions"
"""Below the state folder: a file for each machine with an InfiniBand function (`agent.partitions`)."""

RELEASED_FOLDER = Path("imgstorage") / "released"
"""Below the state folder: a file for each machine that has ended, with the lease under which it ran, if any, in it. The
image daemon of this host makes the folder, and takes the files away; without the folder nobody wants to know. A file
whose name begins with a dot is still being written."""


def check_start(arguments: Sequence[str], xml: str, state_folder: Path) -> None:
    """StateError when the domain must not be started; domains that are not of this system may.

    Where libvirt starts it by itself after the host has booted, its virtual functions are made and set again here.
    """
    if tuple(arguments[1:3]) != _BEFORE_START:
        return
    document = parse_domain(xml)
    if document.token is None:
        return
    known = Leases(state_folder).remembered(document.name)
    if known is not None and document.token < known:
        raise StateError(
            f"{document.name} belongs to lease {document.token}, but this host has seen lease {known}: "
            f"start it with `rocks start host vm {document.name}` on the frontend"
        )
    if function_addresses(document):
        from rocks.agent.functions import restore_functions  # rare, and the hook runs at every start
        from rocks.agent.host import Host

        restore_functions(Host(state_folder), document)


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
