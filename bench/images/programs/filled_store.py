"""Fills a daemon's records with images that it has never seen: `python3 -m … filled_store nas|host COUNT`.

The records are those of an image that was on three hosts and is written back; they have no volumes. The
daemon must not run.
"""

from __future__ import annotations

import sys
import uuid

from rocks.storage.host.service import STORE as HOST_STORE
from rocks.storage.image.image import Copy, HostImage, Image
from rocks.storage.nas.service import STORE as NAS_STORE
from rocks.storage.store.host import CopyRecord, HostStore
from rocks.storage.store.nas import NasStore

_SIZE_BYTES = 36 * 2**30
_HOSTS = 3


def main(arguments: list[str]) -> int:
    """Fill; returns the exit status."""
    role, count = arguments[0], int(arguments[1])
    fill_nas(count) if role == "nas" else fill_host(count)
    return 0


def fill_nas(count: int) -> None:
    """That many images, written back, each with attributes."""
    store = NasStore(NAS_STORE)
    with store.transaction():
        for number in range(count):
            guid = str(10**18 + number)
            copies = tuple(Copy(f"compute-0-{host}", "vmpool", "clean", guid) for host in range(_HOSTS))
            image = Image(
                str(uuid.uuid4()),
                "nas-0-0",
                "tank",
                f"vm-filled-{number}-vol",
                epoch=7,
                sequence=70,
                size_bytes=_SIZE_BYTES,
                volume_guid=guid,
                base_name="img-7-69-20260101T000000Z",
                base_guid=guid,
                final_guid=guid,
                copies=copies,
            )
            store.save(image)
            store.set_attribute_of(image.zvol, "frequency", 600)
    store.close()


def fill_host(count: int) -> None:
    """That many copies, none of them in use."""
    store = HostStore(HOST_STORE)
    details = {
        "nas": "nas-0-0",
        "volume": "tank/vm-filled-vol",
        "address": "10.9.0.10",
        "portal_port": 3260,
        "stream_port": 7443,
        "chap": None,
    }
    with store.transaction():
        for number in range(count):
            known = HostImage(f"vm-filled-{number}-vol", "vmpool", epoch=7, size_bytes=_SIZE_BYTES)
            store.keep(CopyRecord(str(uuid.uuid4()), known, details))
    store.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
