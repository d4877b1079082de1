"""Which virtual functions this host has given to a guest, and under which lease: a file for each virtual machine.

It is written before a function is set and removed when all are nobody's again, so that whatever ended in between, the
next stop, start or fence of that machine finds what is left of it. A host that boots sets the functions from it again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Set, Tuple

from rocks.devices.leases import check_name
from rocks.devices.state_folder import ensure_folder
from rocks.errors import IncoherentError, RocksError
from rocks.files import write_file
from rocks.wire.agent import VfSpec
from rocks.wire.codec import decode, encode


@dataclass(frozen=True)
class AssignedVfs:
    """What a guest has under the lease `token`; `boot` is the kernel's name of the run in which it was set last."""

    token: int
    boot: str
    vfs: Tuple[VfSpec, ...]


@dataclass(frozen=True)
class _Stored:
    """The file's layout: its key `functions` is older than this version."""

    token: int
    boot: str
    functions: Tuple[VfSpec, ...]

    def assigned(self) -> AssignedVfs:
        return AssignedVfs(self.token, self.boot, self.functions)


class VfRecords:
    """The files in the folder `vfs` below the state folder."""

    def __init__(self, state_folder: Path) -> None:
        self._folder = state_folder / "functions"

    def read(self, name: str) -> Optional[AssignedVfs]:
        """The record of a virtual machine, None when there is none. IncoherentError when the file is damaged."""
        path = self._path(name)
        try:
            text = path.read_text("utf-8")
        except FileNotFoundError:
            return None
        try:
            return decode(_Stored, json.loads(text), "record").assigned()
        except (ValueError, IncoherentError) as error:
            raise IncoherentError(
                f"{path}, which says what virtual functions {name} has on this host, cannot be read ({error}); when "
                f"{name} does not run here, remove the file"
            ) from None

    def write(self, name: str, given: AssignedVfs) -> None:
        """Remember it, in one step that survives a power cut."""
        ensure_folder(self._folder)
        write_file(
            self._path(name), json.dumps(encode(_Stored(given.token, given.boot, given.vfs)), indent=1) + "\n"
        )

    def remove(self, name: str) -> None:
        """Nothing is given any more."""
        self._path(name).unlink(missing_ok=True)

    def of_others(self, name: str) -> Set[Tuple[str, int]]:
        """(device, number) of all functions that other virtual machines have; damaged records count for nothing."""
        found: Set[Tuple[str, int]] = set()
        for path in self._folder.glob("[!.]*.json"):
            if path.name != self._path(name).name:
                try:
                    given = self.read(path.name[: -len(".json")])
                except RocksError:
                    continue
                found.update((vf.device, vf.number) for vf in (given.vfs if given else ()))
        return found

    def _path(self, name: str) -> Path:
        return self._folder / f"{check_name(name)}.json"


def boot_id() -> str:
    """What the kernel calls this run of itself; empty where it has no name."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""
