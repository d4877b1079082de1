"""Records of the VFs that are assigned to guests, with the lease: a file for each virtual machine.

A record is written before a VF is configured and removed after all are released. So after a crash, the next stop, start
or fence of the machine finds the VFs that it must release. After a boot the VFs are configured from the records.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Optional, Set, Tuple

from rocks.core.dataclasses import dataclass
from rocks.core.errors import IncoherentError, RocksError
from rocks.core.files import text_if_readable, write_file
from rocks.fleet.host.records import RecordKind, damaged, read_json_record, remove_record
from rocks.fleet.host.state_folder import Place, ensure_folder
from rocks.fleet.wire.codec import decode_lenient, encode
from rocks.fleet.wire.requests import VfSpec
from rocks.leases.host.leases import check_name


@dataclass(frozen=True)
class AssignedVfs:
    """VFs of a guest under the lease `token`; `boot` is the boot ID under which they were last configured.

    The names are those of the file.
    """

    token: int
    boot: str
    functions: Tuple[VfSpec, ...]


class VfRecords:
    """The files in the folder `functions` of the state folder."""

    def __init__(self, state_folder: Path) -> None:
        self._folder = Place.VFS.below(state_folder)

    def read(self, name: str) -> Optional[AssignedVfs]:
        """The record of a virtual machine, None when there is none. IncoherentError when the file is damaged."""
        path = self._path(name)
        kind = RecordKind(
            f"the record of the virtual functions of {name}",
            f"if {name} is not running on this host, remove the file",
        )
        value = read_json_record(path, kind)
        if value is None:
            return None
        try:
            return decode_lenient(AssignedVfs, value, "record")
        except IncoherentError as error:
            raise damaged(path, kind, error) from None

    def write(self, name: str, assigned: AssignedVfs) -> None:
        """Write the record atomically."""
        ensure_folder(self._folder)
        write_file(self._path(name), json.dumps(encode(assigned), indent=1) + "\n")

    def remove(self, name: str) -> None:
        """Remove the record. HostError when that fails."""
        remove_record(self._path(name))

    def of_others(self, name: str) -> Set[Tuple[str, int]]:
        """(device, number) of all VFs of other virtual machines; damaged records are ignored."""
        found: Set[Tuple[str, int]] = set()
        for path in self._folder.glob("[!.]*.json"):
            if path.name != self._path(name).name:
                try:
                    assigned = self.read(path.name[: -len(".json")])
                except RocksError:
                    continue
                found.update((vf.device, vf.number) for vf in (assigned.functions if assigned else ()))
        return found

    def _path(self, name: str) -> Path:
        return self._folder / f"{check_name(name)}.json"


def boot_id() -> str:
    """The boot ID of the kernel; empty when it cannot be read."""
    return text_if_readable(Path("/proc/sys/kernel/random/boot_id"))
