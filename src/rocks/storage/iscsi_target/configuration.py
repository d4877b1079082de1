"""Records of LIO's configuration, including incomplete objects; the input of `rules.py`."""

from __future__ import annotations

from typing import NamedTuple, Optional, Tuple

from rocks.storage.iscsi_target.chap import ChapSecrets
from rocks.storage.iscsi_target.exports import ExportFact
from rocks.storage.iscsi_target.names import backstore_name


class Backstore(NamedTuple):
    """A block backstore; `targets` are all targets with a LUN on it, of any origin."""

    name: str
    device_path: str
    read_only: bool
    unit_serial: str
    is_enabled: bool
    targets: Tuple[str, ...]


class Lun(NamedTuple):
    """A LUN of a target; `backstore` is None while it is incomplete."""

    number: int
    backstore: Optional[str]


class MappedLun(NamedTuple):
    """A mapped LUN of an access list entry; `lun` is None while it is incomplete."""

    number: int
    lun: Optional[int]
    write_protect: bool


class Acl(NamedTuple):
    """The access list entry (node ACL) of one initiator; `chap` is None without secrets."""

    initiator: str
    chap: Optional[ChapSecrets]
    mapped: Tuple[MappedLun, ...]
    has_session: bool


class Portal(NamedTuple):
    """A portal of a target."""

    address: str
    port: int


class TargetConfig(NamedTuple):
    """A target. `groups`: numbers of its portal groups; the other fields are those of group 1."""

    target: str
    groups: Tuple[int, ...]
    is_enabled: bool
    attributes: Tuple[Tuple[str, str], ...]
    luns: Tuple[Lun, ...]
    acls: Tuple[Acl, ...]
    portals: Tuple[Portal, ...]


def describe(config: TargetConfig, backstore: Optional[Backstore]) -> ExportFact:
    """The fact of a target; `backstore` is that of its LUN 0, if any."""
    has_lun = backstore is not None and any(lun.number == 0 and lun.backstore for lun in config.luns)
    is_reached = any(mapped.lun == 0 for acl in config.acls for mapped in acl.mapped)
    return ExportFact(
        target=config.target,
        device_path=backstore.device_path if backstore is not None else "",
        read_only=backstore is not None
        and (
            backstore.read_only or all(mapped.write_protect for acl in config.acls for mapped in acl.mapped)
        ),
        initiators=tuple(acl.initiator for acl in config.acls),
        portals=tuple(f"{portal.address}:{portal.port}" for portal in config.portals),
        unit_serial=backstore.unit_serial if backstore is not None else "",
        sessions=tuple(acl.initiator for acl in config.acls if acl.has_session),
        is_complete=bool(has_lun and is_reached and config.portals and config.is_enabled),
    )


def backstore_of_lun_0(config: TargetConfig, backstores: Tuple[Backstore, ...]) -> Optional[Backstore]:
    """The backstore of LUN 0, else the one with the target's name, else None."""
    names = [lun.backstore for lun in config.luns if lun.number == 0 and lun.backstore]
    name = names[0] if names else backstore_name(config.target)
    return next((backstore for backstore in backstores if backstore.name == name), None)


def only_secrets(config: Optional[TargetConfig]) -> Optional[ChapSecrets]:
    """The secrets of a target's only access list entry."""
    return config.acls[0].chap if config is not None and len(config.acls) == 1 else None
