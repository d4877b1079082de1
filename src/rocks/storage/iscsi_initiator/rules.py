"""Checks of session specs, and whether sessions and disks match them; pure."""

from __future__ import annotations

from typing import Sequence

from rocks.core.errors import HostError, IncoherentError, RocksError, StateError, ToolError, UserError
from rocks.storage.iscsi_initiator.driver import SessionFact, SessionSpec
from rocks.storage.iscsi_target.chap import check_chap
from rocks.storage.iscsi_target.names import check_iscsi_name, check_portal

_SECTOR_BYTES = 512
_LOGIN_FAILED = 5
_NO_ANSWER = (4, 8, 11)
_REFUSED = (19, 24)
_INITIATOR = "InitiatorName="


def check_session(spec: SessionSpec) -> None:
    """UserError unless the spec is valid."""
    check_iscsi_name(spec.target)
    check_portal(spec.address, spec.port)
    check_chap(spec.chap)
    if not spec.unit_serial:
        raise UserError(f"the disk of {spec.target} needs a unit serial")
    if spec.size_bytes <= 0 or spec.size_bytes % _SECTOR_BYTES:
        raise UserError(f"{spec.size_bytes} bytes is not a valid disk size: a multiple of {_SECTOR_BYTES}")


def device_path_of(target: str, address: str, port: int) -> str:
    """The udev link of LUN 0 of a target."""
    return f"/dev/disk/by-path/ip-{address}:{port}-iscsi-{target}-lun-0"


def check_one_session(target: str, count: int) -> None:
    """IncoherentError when a target has more than one session."""
    if count > 1:
        raise IncoherentError(f"this host has {count} sessions of {target}: log out all but one")


def check_portal_matches(spec: SessionSpec, found: SessionFact) -> None:
    """IncoherentError when this host is logged in to the target at another portal."""
    if (found.address, found.port) != (spec.address, spec.port):
        raise IncoherentError(
            f"this host is logged in to {spec.target} at {found.address}:{found.port}, "
            f"not {spec.address}:{spec.port}"
        )


def check_disk(spec: SessionSpec, found: SessionFact) -> None:
    """IncoherentError unless the attached disk matches the spec."""
    differences = []
    if found.unit_serial != spec.unit_serial:
        differences.append(f"has serial {found.unit_serial or 'none'}, not {spec.unit_serial}")
    if found.size_bytes != spec.size_bytes:
        differences.append(f"has {found.size_bytes} bytes, not {spec.size_bytes}")
    if found.is_read_only != spec.read_only:
        differences.append("is read-only" if found.is_read_only else "is writable, but must be read-only")
    if differences:
        raise IncoherentError(f"the disk of {spec.target} {' and '.join(differences)}; it is not used")


def in_use(target: str, users: Sequence[str]) -> StateError:
    """The error for a disk in use."""
    return StateError(f"the disk of {target} is in use by {', '.join(users)}; release it first")


def no_disk(spec: SessionSpec) -> HostError:
    """The error for a target without a disk."""
    return HostError(
        f"Not found {spec.target} in targets: at {spec.address}:{spec.port} it has no disk for this host; "
        "is the NAS down?"
    )


def login_error(spec: SessionSpec, exit_status: int, message: str) -> RocksError:
    """The error for a failed `iscsiadm --login`, by its exit status (iscsi_err.h of open-iscsi).

    Existing programs match the first words of some texts, as of `no_disk` and `parse_initiator`.
    """
    place = f"{spec.target} at {spec.address}:{spec.port}"
    if exit_status in _REFUSED:
        return StateError(f"the NAS rejects this host at {place}: export it to this host first ({message})")
    if exit_status in _NO_ANSWER or exit_status == _LOGIN_FAILED:
        return HostError(
            f"Could not find iSCSI target {spec.target} on server {spec.address}: the NAS does not answer for {place}, "
            f"or has not exported it yet: {message}"
        )
    return ToolError(f"Error executing iscsiadm: no login to {place}, exit status {exit_status}: {message}")


def parse_initiator(text: str) -> str:
    """The name in /etc/iscsi/initiatorname.iscsi. StateError without a name."""
    for line in text.splitlines():
        if line.strip().startswith(_INITIATOR):
            name = line.strip()[len(_INITIATOR) :].strip()
            if name:
                return name
    raise StateError(
        "no initiator name: this host has no iSCSI name; write InitiatorName=iqn.YYYY-MM.DOMAIN:HOST to "
        "/etc/iscsi/initiatorname.iscsi, and restart iscsid"
    )
