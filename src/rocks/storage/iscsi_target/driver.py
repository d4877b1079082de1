"""Operations on iSCSI targets as a Protocol: `targets.py` implements it by LIO, `fake.py` in memory."""

from __future__ import annotations

from typing import NamedTuple, Optional, Protocol, Tuple

from rocks.core.dataclasses import dataclass
from rocks.fleet.host.change import Change
from rocks.storage.iscsi_target.chap import ChapSecrets


@dataclass(frozen=True)
class ExportSpec:
    """A block device exported to one host: a target with LUN 0, one access list entry and one portal.

    `unit_serial` is the serial number of the disk; it must not change when the NAS restarts.
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
    """A target of this system. `sessions`: initiators that are logged in.

    `is_complete`: enabled, with a mapped LUN. Without a LUN, `device_path` and `unit_serial` are empty and `read_only`
    is False.
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
    """iSCSI targets whose names start with one prefix; other targets are not changed."""

    def ensure_export(self, spec: ExportSpec) -> Change:
        """Create or complete this export; the target is enabled last.

        Surplus access list entries, portals and LUNs that are not in use are removed, with a note. IncoherentError when
        the target has another device, serial or user; StateError when the device is missing or already exported;
        UserError for invalid names, addresses or secrets.
        """

    def ensure_export_gone(self, target: str) -> Change:
        """Remove the target and its backstore; sessions are closed first.

        IncoherentError when the backstore serves another target.
        """

    def read_exports(self) -> Tuple[ExportFact, ...]:
        """All targets of this system by name."""

    def read_secrets(self, target: str) -> Optional[ChapSecrets]:
        """The secrets of a target's only access list entry; None without the target, an entry or secrets."""

    def read_unused_backstores(self) -> Tuple[str, ...]:
        """Names of removed targets whose backstore still exists and keeps its volume busy."""
