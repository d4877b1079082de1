"""LIO's configuration as records, half-made things included: what the rules of `target_rules.py` look at."""

from __future__ import annotations

from typing import NamedTuple, Optional, Tuple

from rocks.devices.iscsi_target.chap import ChapSecrets
from rocks.devices.iscsi_target.driver import ExportFact
from rocks.devices.iscsi_target.names import backstore_of


class Store(NamedTuple):
    """A block device that LIO holds; `targets` are all that have a LUN on it, others' too."""

    name: str
    device_path: str
    read_only: bool
    unit_serial: str
    is_enabled: bool
    targets: Tuple[str, ...]


class Unit(NamedTuple):
    """A LUN of a target; `store` is None when it was being made."""

    number: int
    store: Optional[str]


class Mapped(NamedTuple):
    """A LUN as an initiator sees it; `unit` is None when it was being made."""

    number: int
    unit: Optional[int]
    write_protect: bool


class Acl(NamedTuple):
    """What one initiator may reach, and by which secrets; `chap` is None when it has none."""

    initiator: str
    chap: Optional[ChapSecrets]
    mapped: Tuple[Mapped, ...]
    has_session: bool


class Portal(NamedTuple):
    """Where a target listens."""

    address: str
    port: int


class Tree(NamedTuple):
    """A target. `groups` are the numbers of its portal groups; the rest tells of group 1, the only one made here."""

    target: str
    groups: Tuple[int, ...]
    is_enabled: bool
    attributes: Tuple[Tuple[str, str], ...]
    units: Tuple[Unit, ...]
    acls: Tuple[Acl, ...]
    portals: Tuple[Portal, ...]


def describe(tree: Tree, store: Optional[Store]) -> ExportFact:
    """What `read_exports` says of a target; `store` is the one of its LUN 0, if any."""
    has_unit = store is not None and any(unit.number == 0 and unit.store for unit in tree.units)
    is_reached = any(mapped.unit == 0 for acl in tree.acls for mapped in acl.mapped)
    return ExportFact(
        target=tree.target,
        device_path=store.device_path if store is not None else "",
        read_only=store is not None
        and (store.read_only or all(mapped.write_protect for acl in tree.acls for mapped in acl.mapped)),
        initiators=tuple(acl.initiator for acl in tree.acls),
        portals=tuple(f"{portal.address}:{portal.port}" for portal in tree.portals),
        unit_serial=store.unit_serial if store is not None else "",
        sessions=tuple(acl.initiator for acl in tree.acls if acl.has_session),
        is_complete=bool(has_unit and is_reached and tree.portals and tree.is_enabled),
    )


def store_of_unit_0(tree: Tree, stores: Tuple[Store, ...]) -> Optional[Store]:
    """The backstore behind LUN 0, else the one that bears the target's name, else None."""
    names = [unit.store for unit in tree.units if unit.number == 0 and unit.store]
    name = names[0] if names else backstore_of(tree.target)
    return next((store for store in stores if store.name == name), None)
