"""Sends the disk of a stopped machine to the frontend, which makes an image of the library of it."""

from __future__ import annotations

import os
from typing import Callable

from rocks.core.errors import HostError, StateError
from rocks.core.image_blocks import send_content
from rocks.core.units import gigabytes
from rocks.machine.host.disk_requests import check_unused, unused_file
from rocks.machine.host.files.users import key_of
from rocks.machine.host.host import Host


def send_disk(
    host: Host, path: str, directory: str, machine: str, max_bytes: int, send: Callable[[bytes], None]
) -> None:
    """Write the stream of `rocks.core.image_blocks` of a raw disk with `send`.

    StateError for a disk that is in use, before or afterwards, changes meanwhile, belongs to another than the machine,
    or is larger than `max_bytes`; then what was sent is not the disk. HostError when it cannot be read.
    """
    try:
        with unused_file(host, path, directory, machine) as (_, descriptor):
            before = os.fstat(descriptor)
            if before.st_size > max_bytes:
                raise StateError(
                    f"{path} is a disk of {gigabytes(before.st_size)}, and {gigabytes(max_bytes)} is the most that is "
                    "copied; if it is meant to be that large, give size=GB"
                )
            send_content(descriptor, send)
            after = os.fstat(descriptor)
            check_unused(host, path, key_of(after))
    except FileNotFoundError:
        raise StateError(f"there is no file {path} on this host; was the machine ever started?") from None
    except BrokenPipeError:
        raise HostError("the frontend takes nothing of the disk any more") from None
    except OSError as error:
        raise HostError(f"{path} cannot be read: {error.strerror}") from None
    if _version(before) != _version(after):
        raise StateError(
            f"{path} was changed while it was read; repeat the command while the machine is stopped"
        )


def _version(status: os.stat_result) -> "tuple[int, int, int]":
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns
