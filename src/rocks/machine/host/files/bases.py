"""Copies of the site's images on this host: disks of machines are made from them, and drives have those of ISOs.

They are written once, and then get a time of their own as that of their last change: whatever writes to a copy changes
it. libvirt sets owner and label of a copy in a drive, which leaves that time as it is.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Callable, Tuple

from rocks.core.errors import Code, HostError, IncoherentError, StateError, UserError
from rocks.core.files import draft, explain
from rocks.core.image_blocks import content_of, copy_content, receive_content
from rocks.fleet.host.change import CHANGED, UNCHANGED, Change
from rocks.fleet.wire.requests import BASE_FOLDER, BaseImage, base_path
from rocks.machine.host.files.owners import ImageOwners
from rocks.machine.host.files.paths import (
    check_closed,
    check_mounted,
    check_owner,
    check_path,
    open_file,
    opened_folder,
)

_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_WRITTEN_NS = 1_000_000_000
"""The time of the last change of a copy: one second after the beginning of 1970."""


def receive_base(base: BaseImage, read: Callable[[int], bytes]) -> Change:
    """Store the stream of `rocks.core.image_blocks` as the host's copy of the image; one that is there stays.

    IncoherentError when the stream is not that of this image, StateError for a folder that others can change, and as
    `check_mounted`; HostError when it cannot be written. Then nothing is left.
    """
    path = _path(base)
    check_mounted(str(path))
    try:
        with opened_folder(base.directory, f"/{BASE_FOLDER}", make=True) as folder:
            check_closed(folder, str(path.parent))
            if open_there(folder, path) is not None:
                return UNCHANGED
            with draft(path, replace=False) as image:
                found = receive_content(read, image.descriptor, base.size_bytes)
                if (found.digest, found.size_bytes) != (base.digest, base.size_bytes):
                    raise IncoherentError(
                        f"what came is the image {found.digest}, not {base.digest}; is the library sound? "
                        "rocks check image"
                    )
                _seal(image.descriptor)
    except FileExistsError:
        return UNCHANGED  # another process has just stored it
    except OSError as error:
        raise HostError(f"the image cannot be stored as {path}: {explain(error, path)}") from None
    return CHANGED


def copy_base(base: BaseImage, target: int, owners: ImageOwners) -> None:
    """Make the empty file `target` a copy of the image. StateError without the host's copy of it; OSError."""
    path = _path(base)
    try:
        with opened_folder(base.directory, f"/{BASE_FOLDER}") as folder:
            check_closed(folder, str(path.parent))
            source = open_file(folder, path.name, str(path))
    except FileNotFoundError:
        source = None
    if source is None:
        raise StateError(
            f"there is no copy {path} of the image on this host any more; start the machine again"
        )
    try:
        check_owner(str(path), os.fstat(source))
        owner = owners.of_file(source, str(path))
        if owner is not None or os.fstat(source).st_size != base.size_bytes:
            raise StateError(
                f"{path} is not the copy of an image any more; remove it: rocks remove host image HOST {path}"
            )
        copy_content(source, target)
    finally:
        os.close(source)


def check_medium(base: BaseImage, path: str, descriptor: int, owners: ImageOwners) -> None:
    """StateError unless the open file is the copy of the ISO `base` as it was received; OSError.

    The content is read only when something has written to the file since, or an earlier release stored it.
    """
    status = os.fstat(descriptor)
    check_owner(path, status)
    is_same = owners.of_file(descriptor, path) is None and path == base_path(base)
    is_same = is_same and status.st_size == base.size_bytes
    if is_same and status.st_mtime_ns != _WRITTEN_NS:
        is_same = content_of(descriptor).digest == base.digest
        if is_same:
            _seal(descriptor)
    if not is_same:
        raise StateError(f"{path} is not the ISO any more that this host received", code=Code.MEDIUM_ALTERED)


def _seal(descriptor: int) -> None:
    os.utime(descriptor, ns=(_WRITTEN_NS, _WRITTEN_NS))


def open_there(folder: int, path: Path) -> "Tuple[int, int] | None":
    """Device and inode of the copy in its open folder, or None. StateError for another kind of file."""
    descriptor = open_file(folder, path.name, str(path))
    if descriptor is None:
        return None
    status = os.fstat(descriptor)
    os.close(descriptor)
    return status.st_dev, status.st_ino


def _path(base: BaseImage) -> Path:
    check_path(base.directory)
    if not _DIGEST.match(base.digest):
        raise UserError(f"{base.digest[:80]!r} is not the digest of an image")
    return Path(base_path(base))
