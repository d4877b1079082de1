"""The second, small disk of a machine, from which cloud-init reads its name, addresses and keys."""

from __future__ import annotations

import base64
import binascii
import os
import zlib
from pathlib import Path
from typing import Tuple

from rocks.core.errors import HostError, IncoherentError, StateError
from rocks.core.files import draft, explain
from rocks.fleet.wire.requests import SeedSpec
from rocks.machine.host.files.owners import ImageOwners
from rocks.machine.host.files.paths import check_mounted, check_path, open_file, opened_image_folder

LARGEST_BYTES = 16 * 1024**2


def write_seed(seed: SeedSpec, owners: ImageOwners) -> Tuple[int, int]:
    """Replace the machine's seed; returns its device and inode.

    StateError when the file is not a seed of this machine, and as `check_mounted`; HostError when it cannot be written.
    """
    path = Path(check_path(seed.path))
    content = _content(seed)
    check_mounted(seed.path)
    try:
        with opened_image_folder(seed.path, seed.directory, make=True) as folder:
            _check_present(folder, path, seed.machine, owners)
            with draft(path) as new:
                new.write(content)
                owners.set_file(new.descriptor, seed.path, seed.machine)
                status = os.fstat(new.descriptor)
            return status.st_dev, status.st_ino
    except OSError as error:
        raise HostError(f"cannot write {path}: {explain(error, path)}") from None


def _content(seed: SeedSpec) -> bytes:
    try:
        unpacker = zlib.decompressobj()
        content = unpacker.decompress(base64.b64decode(seed.content, validate=True), LARGEST_BYTES)
    except (binascii.Error, zlib.error, ValueError):
        raise IncoherentError(f"the content of {seed.path} is damaged") from None
    if not unpacker.eof or not content:
        raise IncoherentError(
            f"the content of {seed.path} is not whole, or larger than {LARGEST_BYTES} bytes"
        )
    return content


def _check_present(folder: int, path: Path, machine: str, owners: ImageOwners) -> None:
    descriptor = open_file(folder, path.name, str(path))
    if descriptor is None:
        return
    try:
        found = owners.of_file(descriptor, str(path))
    finally:
        os.close(descriptor)
    if found != machine:
        raise StateError(
            f"{path} that is there belongs to {found or 'nobody'}, and the machine's own file for cloud-init has this "
            f"name; remove it: rocks remove host image HOST {path}"
        )
