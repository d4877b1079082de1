"""Which sessions can be, and which existing ones are the wanted ones; pure."""

from __future__ import annotations

from typing import Sequence

from rocks.devices.iscsi_initiator.driver import SessionFact, SessionSpec
from rocks.devices.iscsi_target.chap import check_chap
from rocks.devices.iscsi_target.names import check_iscsi_name, check_portal
from rocks.errors import HostError, IncoherentError, RocksError, StateError, ToolError, UserError

_SECTOR_BYTES = 512
_LOGIN_FAILED = 5
_NO_ANSWER = (4, 8, 11)
_REFUSED = (19, 24)
_INITIATOR = "InitiatorName="


def check_session(wanted: SessionSpec) -> None:
    """UserError unless such a session can exist at all."""
    check_iscsi_name(wanted.target)
    check_portal(wanted.address, wanted.port)
    check_chap(wanted.chap)
    if not wanted.unit_serial:
        raise UserError(f"the disk of {wanted.target} needs a serial to be known by")
    if wanted.size_bytes <= 0 or wanted.size_bytes % _SECTOR_BYTES:
        raise UserError(
            f"{wanted.size_bytes} bytes is no size of a disk, which is a multiple of {_SECTOR_BYTES}"
        )


def device_path_of(target: str, address: str, port: int) -> str:
    """The name that udev gives to LUN 0 of a target."""
    return f"/dev/disk/by-path/ip-{address}:{port}-iscsi-{target}-lun-0"


def refuse_several(target: str, count: int) -> None:
    """IncoherentError when a target has more than one session, for it could not be said which is meant."""
    if count > 1:
        raise IncoherentError(f"this host has {count} sessions of {target}: log out all but one")


def refuse_other_portal(wanted: SessionSpec, found: SessionFact) -> None:
    """IncoherentError when this host is logged in to the target of that name at another place."""
    if (found.address, found.port) != (wanted.address, wanted.port):
        raise IncoherentError(
            f"this host is logged in to {wanted.target} at {found.address}:{found.port}, "
            f"not {wanted.address}:{wanted.port}"
        )


def check_disk(wanted: SessionSpec, found: SessionFact) -> None:
    """IncoherentError unless the attached disk is the wanted one."""
    differences = []
    if found.unit_serial != wanted.unit_serial:
        differences.append(f"has serial {found.unit_serial or 'none'}, not {wanted.unit_serial}")
    if found.size_bytes != wanted.size_bytes:
        differences.append(f"has {found.size_bytes} bytes, not {wanted.size_bytes}")
    if found.is_read_only != wanted.read_only:
        differences.append("is read-only" if found.is_read_only else "can be written, which it must not be")
    if differences:
        raise IncoherentError(f"the disk of {wanted.target} {' and '.join(differences)}; it is not used")


def in_use(target: str, users: Sequence[str]) -> StateError:
    """The error for a disk that somebody uses."""
    return StateError(f"the disk of {target} is in use by {', '.join(users)}: end that first")


def no_disk(wanted: SessionSpec) -> HostError:
    """The error for a target that shows no disk."""
    return HostError(
        f"{wanted.target} at {wanted.address}:{wanted.port} shows no disk to this host: has the NAS gone away?"
    )


def login_error(wanted: SessionSpec, exit_status: int, words: str) -> RocksError:
    """What a failed `iscsiadm --login` means, by its exit status (iscsi_err.h of open-iscsi)."""
    place = f"{wanted.target} at {wanted.address}:{wanted.port}"
    if exit_status in _REFUSED:
        return StateError(
            f"the NAS does not let this host in to {place}: export it to this host first ({words})"
        )
    if exit_status in _NO_ANSWER or exit_status == _LOGIN_FAILED:
        return HostError(f"the NAS does not answer for {place}, or has not exported it yet: {words}")
    return ToolError(f"iscsiadm did not log in to {place}, exit status {exit_status}: {words}")


def parse_initiator(text: str) -> str:
    """The name in /etc/iscsi/initiatorname.iscsi. StateError when there is none."""
    for line in text.splitlines():
        if line.strip().startswith(_INITIATOR):
            name = line.strip()[len(_INITIATOR) :].strip()
            if name:
                return name
    raise StateError(
        "this host has no iSCSI name: write InitiatorName=iqn.YYYY-MM.DOMAIN:HOST to /etc/iscsi/initiatorname.iscsi, "
        "and restart iscsid"
    )
