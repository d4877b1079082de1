"""Checks of exports, their missing parts, and conflicts with existing objects; pure."""

from __future__ import annotations

import re
from typing import Dict, Iterable, List, Optional, Sequence, Tuple

from rocks.core.errors import IncoherentError, StateError, UserError
from rocks.storage.iscsi_target.chap import check_chap
from rocks.storage.iscsi_target.configuration import Acl, Backstore, Lun, MappedLun, Portal, TargetConfig
from rocks.storage.iscsi_target.exports import ExportSpec
from rocks.storage.iscsi_target.names import backstore_name, check_iscsi_name, check_portal, is_own_backstore

_SERIAL = re.compile(r"[A-Za-z0-9-]{8,36}\Z")
_DEVICE = re.compile(r"/dev/[^\s,=]+\Z")


def check_target(target: str, prefix: str) -> None:
    """UserError unless it is a target name with the prefix."""
    check_iscsi_name(target)
    if not target.startswith(prefix) or target == prefix or ":" not in target:
        raise UserError(f"{target} is not a target of this NAS: the prefix is {prefix}")


def check_export(spec: ExportSpec, prefix: str) -> None:
    """UserError unless the spec is valid."""
    check_target(spec.target, prefix)
    check_iscsi_name(spec.initiator)
    check_portal(spec.portal_address, spec.portal_port)
    check_chap(spec.chap)
    if not _SERIAL.match(spec.unit_serial):
        raise UserError(
            f"{spec.unit_serial[:60]!r} is not a valid unit serial: 8 to 36 letters, digits and '-'"
        )
    if not _DEVICE.match(spec.device_path):
        raise UserError(f"{spec.device_path[:60]!r} is not a path of a block device below /dev")


def attributes_of(spec: ExportSpec) -> Dict[str, str]:
    """Attributes of the portal group: access list only, no discovery without entry, authentication with secrets."""
    return {
        "authentication": "0" if spec.chap is None else "1",
        "cache_dynamic_acls": "0",
        "demo_mode_discovery": "0",
        "demo_mode_write_protect": "1",
        "generate_node_acls": "0",
        "prod_mode_write_protect": "1" if spec.read_only else "0",
    }


def expected_acl(spec: ExportSpec) -> Acl:
    """The access list entry of the spec, before its initiator has logged in."""
    return Acl(spec.initiator, spec.chap, (MappedLun(0, 0, spec.read_only),), has_session=False)


def check_no_conflict(
    spec: ExportSpec, config: Optional[TargetConfig], backstores: Sequence[Backstore]
) -> None:
    """IncoherentError when target or backstore differ from the spec; StateError when the device is exported."""
    name = backstore_name(spec.target)
    for backstore in backstores:
        if backstore.name == name:
            _check_backstore(spec, backstore)
        elif backstore.device_path == spec.device_path:
            users = ", ".join(backstore.targets) or f"the backstore {backstore.name}"
            raise StateError(f"{spec.device_path} is already exported by {users}; remove that export first")
    if config is None:
        return
    if any(number != 1 for number in config.groups):
        raise IncoherentError(f"{spec.target} has portal groups of another origin: {config.groups}")
    for lun in config.luns:
        if lun.number == 0 and lun.backstore not in (None, name):
            raise IncoherentError(f"LUN 0 of {spec.target} is the backstore {lun.backstore}, not {name}")
    for acl in config.acls:
        if acl.initiator != spec.initiator and acl.has_session:
            raise IncoherentError(
                f"{acl.initiator} is logged in to {spec.target}, which is for {spec.initiator}: "
                "find the reason before you log it out"
            )


def _check_backstore(spec: ExportSpec, backstore: Backstore) -> None:
    if not backstore.is_enabled:
        return
    found = (backstore.device_path, backstore.read_only, backstore.unit_serial or spec.unit_serial)
    if found != (spec.device_path, spec.read_only, spec.unit_serial):
        raise IncoherentError(
            f"the backstore {backstore.name} is {_description(*found)}, "
            f"not {_description(spec.device_path, spec.read_only, spec.unit_serial)}"
        )
    others = [target for target in backstore.targets if target != spec.target]
    if others:
        raise IncoherentError(f"the backstore {backstore.name} serves {', '.join(others)}, not {spec.target}")


def missing_parts(
    spec: ExportSpec, config: Optional[TargetConfig], backstores: Sequence[Backstore]
) -> List[str]:
    """Names of the parts that differ from the spec; empty when the export is complete."""
    name = backstore_name(spec.target)
    if config is None or not config.groups:
        return ["target"]
    backstore = find_backstore(spec.target, backstores)
    missing = []
    if backstore is None or not backstore.is_enabled or backstore.unit_serial != spec.unit_serial:
        missing.append("backstore")
    expected = attributes_of(spec)
    if any(expected.get(attribute, value) != value for attribute, value in config.attributes):
        missing.append("attributes")
    if config.luns != (Lun(0, name),):
        missing.append("LUN")
    if tuple(acl._replace(has_session=False) for acl in config.acls) != (expected_acl(spec),):
        missing.append("access list")
    if config.portals != (Portal(spec.portal_address, spec.portal_port),):
        missing.append("portal")
    if not config.is_enabled:
        missing.append("enabled")
    return missing


def check_backstore_unshared(target: str, backstores: Sequence[Backstore]) -> Optional[Backstore]:
    """The backstore of a target to remove; IncoherentError when another target uses it."""
    backstore = find_backstore(target, backstores)
    others = [user for user in backstore.targets if user != target] if backstore is not None else []
    if others:
        raise IncoherentError(
            f"the backstore {backstore_name(target)} of {target} also serves {', '.join(others)}; nothing was removed"
        )
    return backstore


def find_backstore(target: str, backstores: Sequence[Backstore]) -> Optional[Backstore]:
    """The backstore that bears the target's name, None when there is none."""
    name = backstore_name(target)
    return next((backstore for backstore in backstores if backstore.name == name), None)


def unused_backstores(
    prefix: str, targets: Iterable[str], backstores: Iterable[Backstore]
) -> Tuple[str, ...]:
    """Names of removed targets whose backstore still exists; `targets` are the existing ones."""
    in_use = {backstore_name(target) for target in targets}
    return tuple(
        prefix + backstore.name[len(backstore_name("")) :]
        for backstore in backstores
        if is_own_backstore(backstore.name) and backstore.name not in in_use and not backstore.targets
    )


def device_missing(spec: ExportSpec) -> StateError:
    """The error for a missing device."""
    return StateError(
        f"{spec.device_path} is not a block device of this NAS, so {spec.target} cannot export it"
    )


def address_not_local(spec: ExportSpec) -> StateError:
    """The error for a portal on an address of another machine."""
    return StateError(
        f"{spec.portal_address} is not an address of this NAS, so {spec.target} would be unreachable; "
        "check its storage network"
    )


def _description(device: str, read_only: bool, serial: str) -> str:
    return f"{device} {'read-only' if read_only else 'writable'} with serial {serial}"
