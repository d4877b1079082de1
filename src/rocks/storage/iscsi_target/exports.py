"""What is asked and reported of iSCSI targets."""

from __future__ import annotations

from typing import NamedTuple, Optional, Tuple

from rocks.core.dataclasses import dataclass
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
