"""The machine that an image file or block device belongs to: its UUID, which only root can write.

A file has it in the extended attribute `trusted.rocks.machine`, which goes along when the file is renamed or copied by
root with its attributes. The kernel lets only the superuser of the host read or write attributes of that kind. A file
system without them (NFS) has a record in the state folder, valid for that path and inode. A block device has a record
under its stable identity.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any, Dict, List, Optional

from rocks.core.errors import HostError, RocksError
from rocks.core.files import write_file
from rocks.fleet.host.records import RecordKind, damaged, read_json_record, remove_record
from rocks.fleet.host.state_folder import Place, ensure_folder

ATTRIBUTE = "trusted.rocks.machine"
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
_WITHOUT = (errno.ENOTSUP, errno.EPERM, errno.ENOSPC)


def is_uuid(text: str) -> bool:
    """Whether the text is a UUID in lower case."""
    return _UUID.match(text) is not None


_KIND = RecordKind(
    "the record of an image's owner",
    "`rocks list host image HOST` on the frontend shows whose image it is; remove the file when that is settled",
)


class ImageOwners:
    """Owners of files, and the folder `images` of the state folder."""

    def __init__(self, state_folder: Path) -> None:
        self._folder = Place.IMAGES.below(state_folder)

    def of_file(self, descriptor: int, path: str) -> Optional[str]:
        """The UUID, None for a file that nobody is known to own. HostError for a mark that cannot be read."""
        try:
            return os.getxattr(descriptor, ATTRIBUTE).decode("ascii", "replace")
        except OSError as error:
            if error.errno not in (errno.ENODATA, *_WITHOUT):
                raise HostError(f"the owner of the image {path} cannot be read: {error.strerror}") from None
        record = _read(self._record("file", path))
        is_same = record.get("inode") == os.fstat(descriptor).st_ino
        return str(record["machine"]) if is_same and "machine" in record else None

    @staticmethod
    def has_owner_attributes(descriptor: int) -> bool:
        """Whether the file system keeps marks, so that a file without one has never had one here. OSError."""
        try:
            os.getxattr(descriptor, ATTRIBUTE)
        except OSError as error:
            return error.errno == errno.ENODATA
        return True

    def set_file(self, descriptor: int, path: str, machine: str) -> None:
        """Record that the file belongs to the machine. OSError, HostError."""
        try:
            os.setxattr(descriptor, ATTRIBUTE, machine.encode())
        except OSError as error:
            if error.errno not in _WITHOUT:
                raise
            self._write(
                "file", path, {"path": path, "inode": os.fstat(descriptor).st_ino, "machine": machine}
            )

    def of_device(self, identity: str) -> Optional[str]:
        """The UUID of the machine that a block device belongs to. IncoherentError for a damaged record."""
        machine = _read(self._record("device", identity)).get("machine")
        return None if machine is None else str(machine)

    def set_device(self, identity: str, path: str, machine: str) -> None:
        """Record that the device belongs to the machine. HostError."""
        self._write("device", identity, {"path": path, "identity": identity, "machine": machine})

    def forget(self, kind: str, key: str) -> None:
        """Remove the record of a file's path (`file`) or a device's identity (`device`), if there is one. HostError."""
        remove_record(self._record(kind, key))

    def devices(self) -> List[Dict[str, str]]:
        """The records of block devices: path, identity, machine. Damaged ones are left out."""
        if not self._folder.is_dir():
            return []
        found = []
        for path in sorted(self._folder.glob("device-*.json")):
            with contextlib.suppress(RocksError):
                found.append({key: str(value) for key, value in _read(path).items()})
        return [record for record in found if "machine" in record]

    def _write(self, kind: str, key: str, record: "Dict[str, object]") -> None:
        ensure_folder(self._folder)
        write_file(self._record(kind, key), json.dumps(record) + "\n")

    def _record(self, kind: str, key: str) -> Path:
        return self._folder / f"{kind}-{hashlib.sha256(os.fsencode(key)).hexdigest()[:40]}.json"


def _read(path: Path) -> Dict[str, Any]:
    """The record; empty when there is none. IncoherentError for a damaged one: its image would count as nobody's."""
    value = read_json_record(path, _KIND)
    if value is None:
        return {}
    if not isinstance(value, dict) or not isinstance(value.get("machine"), str):
        raise damaged(path, _KIND, "field machine: missing")
    return value
