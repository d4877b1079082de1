"""Operations on iSCSI sessions as a Protocol: `sessions.py` implements it by open-iscsi, `fake.py` in memory."""

from __future__ import annotations

from typing import NamedTuple, Optional, Protocol, Set, Tuple

from rocks.core.dataclasses import dataclass
from rocks.fleet.host.change import Change
from rocks.storage.iscsi_target.chap import ChapSecrets

LOGGED_IN = "LOGGED_IN"
"""The state of a working session; in other states, I/O waits until the NAS is back or the session is removed."""


@dataclass(frozen=True)
class SessionSpec:
    """The disk of a target as the NAS described it; serial, size and read-only flag are checked after the login."""

    target: str
    address: str
    port: int
    chap: Optional[ChapSecrets]
    unit_serial: str
    size_bytes: int
    read_only: bool


class SessionFact(NamedTuple):
    """A session.

    `device_path` is the disk's path below /dev/disk/by-path; `disk` is the kernel's name, which can change and is for
    display only. Both are empty while no disk is attached.
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
    """iSCSI sessions of a host."""

    def read_initiator(self) -> str:
        """The iSCSI name of this host. StateError without one."""

    def ensure_session(self, spec: SessionSpec) -> SessionFact:
        """Log in to the target and attach its disk.

        The login is not repeated after a reboot. I/O to a lost NAS waits without limit. An existing session is not
        changed, even when its NAS is unreachable. HostError when the NAS does not answer or has no such target;
        StateError when it rejects this host; IncoherentError when the disk does not match the spec: the session is
        then closed, unless it is in use.
        """

    def ensure_session_gone(self, target: str) -> Change:
        """Remove session, disk and node record of the target, also when its NAS is unreachable.

        StateError with the names of its users, and no change, when the disk is in use.
        """

    def read_sessions(self) -> Tuple[SessionFact, ...]:
        """All iSCSI sessions of this host, of any origin, sorted by target."""

    def used_targets(self) -> Set[str]:
        """The targets whose disks something uses; asks no NAS."""
