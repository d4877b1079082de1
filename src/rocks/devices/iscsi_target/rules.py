"""What an export may be, what of it is missing, and what is another's; pure."""

from __future__ import annotations

import re
from typing import Dict, List, Optional, Sequence, Tuple

from rocks.devices.iscsi_target.chap import check_chap
from rocks.devices.iscsi_target.driver import ExportSpec
from rocks.devices.iscsi_target.names import backstore_of, check_iscsi_name, check_portal
from rocks.devices.iscsi_target.tree import Acl, Mapped, Portal, Store, Tree, Unit
from rocks.errors import IncoherentError, StateError, UserError

_SERIAL = re.compile(r"[A-Za-z0-9-]{8,36}\Z")
_DEVICE = re.compile(r"/dev/[^\s,=]+\Z")


def check_target(target: str, prefix: str) -> None:
    """UserError unless it is the name of a target of ours."""
    check_iscsi_name(target)
    if not target.startswith(prefix) or target == prefix or ":" not in target:
        raise UserError(f"{target} is no target of this NAS: theirs begin with {prefix}")


def check_export(wanted: ExportSpec, prefix: str) -> None:
    """UserError unless such an export can exist at all."""
    check_target(wanted.target, prefix)
    check_iscsi_name(wanted.initiator)
    check_portal(wanted.portal_address, wanted.portal_port)
    check_chap(wanted.chap)
    if not _SERIAL.match(wanted.unit_serial):
        raise UserError(f"{wanted.unit_serial[:60]!r} is no unit serial: 8 to 36 letters, digits and '-'")
    if not _DEVICE.match(wanted.device_path):
        raise UserError(f"{wanted.device_path[:60]!r} is no path of a block device below /dev")


def attributes_of(wanted: ExportSpec) -> Dict[str, str]:
    """What the portal group is set to: nobody without an entry, no names told to strangers, secrets asked for."""
    return {
        "authentication": "0" if wanted.chap is None else "1",
        "cache_dynamic_acls": "0",
        "demo_mode_discovery": "0",
        "demo_mode_write_protect": "1",
        "generate_node_acls": "0",
        "prod_mode_write_protect": "1" if wanted.read_only else "0",
    }


def wanted_acl(wanted: ExportSpec, has_session: bool = False) -> Acl:
    """The one entry of the access list."""
    return Acl(wanted.initiator, wanted.chap, (Mapped(0, 0, wanted.read_only),), has_session)


def refuse_other(wanted: ExportSpec, tree: Optional[Tree], stores: Sequence[Store]) -> None:
    """IncoherentError when target or backstore of that name are of another identity; StateError for a taken device."""
    name = backstore_of(wanted.target)
    for store in stores:
        if store.name == name:
            _refuse_other_store(wanted, store)
        elif store.device_path == wanted.device_path:
            users = ", ".join(store.targets) or f"the backstore {store.name}"
            raise StateError(
                f"{wanted.device_path} is exported already, by {users}; that export must go first"
            )
    if tree is None:
        return
    if any(number != 1 for number in tree.groups):
        raise IncoherentError(f"{wanted.target} has portal groups that were not made here: {tree.groups}")
    for unit in tree.units:
        if unit.number == 0 and unit.store not in (None, name):
            raise IncoherentError(f"LUN 0 of {wanted.target} is the backstore {unit.store}, not {name}")
    for acl in tree.acls:
        if acl.initiator != wanted.initiator and acl.has_session:
            raise IncoherentError(
                f"{acl.initiator} is logged in to {wanted.target}, which is for {wanted.initiator}: "
                "find out why before that one is cut off"
            )


def _refuse_other_store(wanted: ExportSpec, store: Store) -> None:
    if not store.is_enabled:
        return
    found = (store.device_path, store.read_only, store.unit_serial or wanted.unit_serial)
    if found != (wanted.device_path, wanted.read_only, wanted.unit_serial):
        raise IncoherentError(
            f"the backstore {store.name} is {_words(*found)}, "
            f"not {_words(wanted.device_path, wanted.read_only, wanted.unit_serial)}"
        )
    others = [target for target in store.targets if target != wanted.target]
    if others:
        raise IncoherentError(f"the backstore {store.name} serves {', '.join(others)}, not {wanted.target}")


def missing_parts(wanted: ExportSpec, tree: Optional[Tree], stores: Sequence[Store]) -> List[str]:
    """What is not as wanted, in words; empty when the export is complete."""
    name = backstore_of(wanted.target)
    if tree is None or not tree.groups:
        return ["target"]
    store = next((store for store in stores if store.name == name), None)
    missing = []
    if store is None or not store.is_enabled or store.unit_serial != wanted.unit_serial:
        missing.append("backstore")
    requests = attributes_of(wanted)
    if any(requests.get(attribute, value) != value for attribute, value in tree.attributes):
        missing.append("attributes")
    if tree.units != (Unit(0, name),):
        missing.append("LUN")
    if tuple(acl._replace(has_session=False) for acl in tree.acls) != (wanted_acl(wanted),):
        missing.append("access list")
    if tree.portals != (Portal(wanted.portal_address, wanted.portal_port),):
        missing.append("portal")
    if not tree.is_enabled:
        missing.append("enabled")
    return missing


def strangers(wanted: ExportSpec, tree: Optional[Tree]) -> Tuple[str, ...]:
    """Notes on what is taken away because it is too much."""
    if tree is None:
        return ()
    portal = Portal(wanted.portal_address, wanted.portal_port)
    return (
        *(f"{acl.initiator} is no longer let in" for acl in tree.acls if acl.initiator != wanted.initiator),
        *(f"no longer listens on {where.address}:{where.port}" for where in tree.portals if where != portal),
        *(f"LUN {unit.number} is gone" for unit in tree.units if unit.number != 0),
    )


def refuse_shared_store(target: str, stores: Sequence[Store]) -> Optional[Store]:
    """The backstore of a target that is to go; IncoherentError when another target lives on it."""
    store = next((store for store in stores if store.name == backstore_of(target)), None)
    others = [user for user in store.targets if user != target] if store is not None else []
    if others:
        raise IncoherentError(
            f"the backstore {backstore_of(target)} of {target} serves {', '.join(others)} as well; nothing was removed"
        )
    return store


def missing_device(wanted: ExportSpec) -> StateError:
    """The error for a device that is not there."""
    return StateError(
        f"{wanted.device_path} is no block device of this NAS, so {wanted.target} has nothing to export"
    )


def foreign_address(wanted: ExportSpec) -> StateError:
    """The error for a portal on an address that this machine does not have."""
    return StateError(
        f"{wanted.portal_address} is no address of this NAS, so nobody could reach {wanted.target} there: "
        "is its storage network up?"
    )


def _words(device: str, read_only: bool, serial: str) -> str:
    return f"{device} {'read-only' if read_only else 'writable'} with serial {serial}"
