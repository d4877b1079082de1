"""What a host does with disks of a NAS: open-iscsi behind `sessions.py`, memory behind `fake/sessions.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Optional, Protocol, Tuple

from rocks.devices.change import Change
from rocks.devices.iscsi_target.chap import ChapSecrets

LOGGED_IN = "LOGGED_IN"
"""The state of a session that works; in any other, requests wait in it until the NAS is back or it is removed."""


@dataclass(frozen=True)
class SessionSpec:
    """The disk of one target, as the NAS described it; serial, size and direction are checked after the login."""

    target: str
    address: str
    port: int
    chap: Optional[ChapSecrets]
    unit_serial: str
    size_bytes: int
    read_only: bool


class SessionFact(NamedTuple):
    """A session as it is.

    `device_path` is the name by which the disk is used, below /dev/disk/by-path; `disk` is the kernel's own name of
    it, which may be another's tomorrow and is for display only. Both are empty as long as no disk is attached.
    """

    target: str
    address: str
    port: int
    state: str
    device_path: str
    disk: str
    unit_serial: str
    size_bytes: int
    is_read_only: bool


class SessionDriver(Protocol):
    """What both can do."""

    def read_initiator(self) -> str:
        """The iSCSI name of this host. StateError when it has none."""

    def ensure_session(self, spec: SessionSpec) -> SessionFact:
        """Have this host logged in to the target and its disk attached; the name of the disk is in the answer.

        Nothing is logged in again when this host is rebooted. A NAS that is lost is waited for, for ever. An
        existing session is left as it is, even when its NAS is away. HostError when the NAS does not answer or has
        no such target yet; StateError when it refuses this host; IncoherentError when the disk is not the one
        wanted, and then there is no session left, unless somebody uses it.
        """

    def ensure_session_gone(self, target: str) -> Change:
        """Have no session, disk and node record of the target, whether its NAS is there or not.

        StateError, and nothing changed, when the disk is in use, with the names of its users.
        """

    def read_sessions(self) -> Tuple[SessionFact, ...]:
        """All iSCSI sessions of this host, others' included, in order of their targets."""
