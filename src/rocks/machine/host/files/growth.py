"""An image of a machine that is off grows."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Tuple

from rocks.core.errors import HostError, StateError
from rocks.core.files import explain
from rocks.core.process import run_checked
from rocks.core.units import BYTES_PER_GB, gigabytes
from rocks.fleet.host.change import UNCHANGED, Change
from rocks.fleet.wire.requests import DiskSpec
from rocks.machine.host.disks import ensure_disk
from rocks.machine.host.files.formats import qcow2_bytes
from rocks.machine.host.files.owners import ImageOwners
from rocks.machine.plans import smaller_image

_QEMU_IMG_DEADLINE_SECONDS = 60.0


def grow_image(spec: DiskSpec, owners: ImageOwners) -> Change:
    """Grow the machine's image to the size of `spec`; the new end is zeros and takes no space.

    StateError when the image is larger, is of the format qed, or is not the machine's (`ensure_disk`).
    """
    ensure_disk(spec, owners)
    path, size_bytes = Path(spec.path), spec.size_gb * BYTES_PER_GB
    try:
        present = _image_bytes(spec)
        check_growth(spec.path, present, size_bytes)
        if present == size_bytes:
            return UNCHANGED
        if spec.format == "raw":
            os.truncate(path, size_bytes)
        elif spec.format == "qcow2":
            arguments = ["qemu-img", "resize", "-q", "-f", "qcow2", spec.path, str(size_bytes)]
            run_checked(arguments, deadline_seconds=_QEMU_IMG_DEADLINE_SECONDS)
        else:
            raise StateError(
                f"{path} is an image of the format {spec.format}, which does not grow; use qcow2"
            )
    except OSError as error:
        raise HostError(f"cannot grow the image {path}: {explain(error, path)}") from None
    return Change(True, (f"{path} has {gigabytes(size_bytes)} now",))


def smaller_image_notes(name: str, spec: DiskSpec) -> Tuple[str, ...]:
    """As `smaller_image`, of a disk of this host that was there before."""
    if spec.is_block or spec.is_cdrom or spec.format == "qed":
        return ()
    try:
        return smaller_image(name, spec, _image_bytes(spec))
    except OSError as error:
        raise HostError(f"cannot read the image {spec.path}: {explain(error, Path(spec.path))}") from None


def _image_bytes(spec: DiskSpec) -> int:
    """The size of an image as its guest sees it. OSError."""
    path = Path(spec.path)
    return qcow2_bytes(path) if spec.format == "qcow2" else path.stat().st_size


def check_growth(path: str, present: int, size_bytes: int) -> None:
    """StateError when a disk of `present` bytes would lose its end."""
    if size_bytes < present:
        raise StateError(
            f"the disk {path} has {gigabytes(present)}, more than the {gigabytes(size_bytes)} that are asked for; a "
            "disk only grows"
        )
