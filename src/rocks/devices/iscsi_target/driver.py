"""What can be exported, as a shape: LIO behind `targets.py`, memory behind `fake/targets.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Optional, Protocol, Tuple

from rocks.devices.change import Change
from rocks.devices.iscsi_target.chap import ChapSecrets


@dataclass(frozen=True)
class ExportSpec:
    """A block device for one host: target, LUN 0, one entry in the access list, one portal.

    `unit_serial` is what the disk says of itself; it must be the same after a restart of the NAS.
    """

    target: str
    device_path: str
    read_only: bool
    initiator: str
    chap: Optional[ChapSecrets]
    portal_address: str
    portal_port: int
    unit_serial: str


class ExportFact(NamedTuple):
    """A target of ours as it is. `sessions` names the initiators that are logged in.

    `is_complete`: enabled, with a LUN that somebody may reach. `device_path` and `unit_serial` are empty, and
    `read_only` is False, as long as there is no LUN.
    """

    target: str
    device_path: str
    read_only: bool
    initiators: Tuple[str, ...]
    portals: Tuple[str, ...]
    unit_serial: str
    sessions: Tuple[str, ...]
    is_complete: bool


class TargetDriver(Protocol):
    """What both can do. Each works on targets with the prefix it was made for, and on nothing else."""

    def ensure_export(self, spec: ExportSpec) -> Change:
        """Have exactly this export; what is half made is completed, and the target answers logins last of all.

        An unused entry of the access list, portal or LUN too many is taken away, with a note. IncoherentError when
        the target has another device, serial or user; StateError when the device is missing or exported already;
        UserError for names, addresses or secrets that cannot be.
        """

    def ensure_export_gone(self, target: str) -> Change:
        """Have no such target and no backstore of it; who is logged in is cut off first.

        IncoherentError when the backstore serves another target.
        """

    def read_exports(self) -> Tuple[ExportFact, ...]:
        """All targets of ours, in order of their names."""

    def read_unused_backstores(self) -> Tuple[str, ...]:
        """Targets of which nothing is left but the backstore, which keeps its volume busy."""
