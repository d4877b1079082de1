"""Headers of images: no image of a guest refers to another file."""

from __future__ import annotations

import os
from pathlib import Path

from rocks.core.errors import StateError
from rocks.core.image_formats import QCOW2

_QED = b"QED\0"
_QCOW2_EXTERNAL_DATA = 1 << 2
_QED_BACKING = 1


def check_refers_to_nothing(descriptor: int, path: str, format: str) -> None:
    """StateError when the image has a backing file or an external data file, or is not of its format.

    QEMU would open the other file with the rights that libvirt gives it. The first bytes of a raw image are the
    guest's own, and mean nothing: its format is fixed in the XML.
    """
    header = os.pread(descriptor, 80, 0)
    if format == "qcow2":
        if header[:4] != QCOW2:
            raise StateError(f"{path} is not a qcow2 image; its type in disk= must be that of the file")
        backing, version = _number(header[8:16]), _number(header[4:8])
        features = _number(header[72:80]) if version >= 3 else 0
        if backing or features & _QCOW2_EXTERNAL_DATA:
            raise _refers(path)
    if format == "qed":
        if header[:4] != _QED:
            raise StateError(f"{path} is not a qed image; its type in disk= must be that of the file")
        if int.from_bytes(header[16:24], "little") & _QED_BACKING:
            raise _refers(path)


def qcow2_bytes(path: Path) -> int:
    """The size of a qcow2 image as its guest sees it. OSError."""
    with path.open("rb") as image:
        return _number(image.read(32)[24:])


def _number(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _refers(path: str) -> StateError:
    return StateError(
        f"the image {path} refers to another file (a backing file or a data file), which guests may not have; make it "
        f"whole: qemu-img convert -O qcow2 {path} NEW"
    )
