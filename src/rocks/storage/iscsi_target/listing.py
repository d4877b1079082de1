"""Reads LIO's configuration from configfs (/sys/kernel/config/target).

Objects that are removed during the reading are omitted.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Dict, Iterable, List, Optional, Set, Tuple

from rocks.core.errors import ToolError
from rocks.core.files import text_if_readable
from rocks.storage.iscsi_target.chap import ChapSecrets
from rocks.storage.iscsi_target.configuration import Acl, Backstore, Lun, MappedLun, Portal, TargetConfig

CONFIGURATION = Path("/sys/kernel/config/target")
_MAX_LISTINGS = 5
_GROUP = "tpgt_1"
_BLOCK = "iblock_"
_READ_ONLY = re.compile(r"\breadonly: 1\b")
_ATTRIBUTES = (
    "authentication",
    "cache_dynamic_acls",
    "demo_mode_discovery",
    "demo_mode_write_protect",
    "generate_node_acls",
    "prod_mode_write_protect",
)


def read_backstores(root: Path = CONFIGURATION) -> Tuple[Backstore, ...]:
    """All block backstores, of any origin."""
    users = _users_of_backstores(root)
    return tuple(
        Backstore(
            name=folder.name,
            device_path=_read(folder / "udev_path"),
            read_only=bool(_READ_ONLY.search(_read(folder / "info"))),
            unit_serial=_read(folder / "wwn/vpd_unit_serial").partition(":")[2].strip(),
            is_enabled=_read(folder / "enable") == "1",
            targets=tuple(sorted(users.get(folder.name, ()))),
        )
        for folder in _folders(root / "core", f"{_BLOCK}*/*")
    )


def read_configs(prefix: str, root: Path = CONFIGURATION) -> Tuple[TargetConfig, ...]:
    """The iSCSI targets whose names start with the prefix, sorted."""
    return tuple(
        config
        for folder in _folders(root / "iscsi", "iqn.*")
        if folder.name.startswith(prefix)
        for config in [_read_config(folder)]
        if folder.is_dir()
    )


def read_config(target: str, root: Path = CONFIGURATION) -> Optional[TargetConfig]:
    """One iSCSI target, or None."""
    folder = root / "iscsi" / target
    return _read_config(folder) if folder.is_dir() else None


def _read_config(folder: Path) -> TargetConfig:
    group = folder / _GROUP
    return TargetConfig(
        target=folder.name,
        groups=tuple(_number(path) for path in _folders(folder, "tpgt_*")),
        is_enabled=_read(group / "enable") == "1",
        attributes=tuple((name, _read(group / "attrib" / name)) for name in _ATTRIBUTES),
        luns=tuple(Lun(_number(path), _backstore_of(path)) for path in _folders(group / "lun", "lun_*")),
        acls=tuple(_read_acl(path) for path in _folders(group / "acls", "iqn.*")),
        portals=tuple(_portal(path.name) for path in _folders(group / "np", "*:*")),
    )


def _read_acl(folder: Path) -> Acl:
    return Acl(
        initiator=folder.name,
        chap=parse_chap({path.name: _read(path) for path in (folder / "auth").glob("*")}),
        mapped=tuple(_read_mapped_lun(path) for path in _folders(folder, "lun_*")),
        has_session=parse_session(_read(folder / "info")),
    )


def _read_mapped_lun(folder: Path) -> MappedLun:
    links = _links(folder)
    lun = _number(links[0]) if links else None
    return MappedLun(_number(folder), lun, _read(folder / "write_protect") == "1")


def parse_chap(values: Dict[str, str]) -> Optional[ChapSecrets]:
    """CHAP secrets of an access list entry from its files; the kernel shows NULL or nothing for unset ones."""
    names = ("userid", "password", "userid_mutual", "password_mutual")
    fields = ["" if values.get(name, "") == "NULL" else values.get(name, "") for name in names]
    return ChapSecrets(*fields) if any(fields) else None


def parse_session(information: str) -> bool:
    """Whether the `info` of an access list entry shows a session."""
    return bool(information) and not information.startswith("No active")


def _users_of_backstores(root: Path) -> Dict[str, Set[str]]:
    """Name of a block backstore → targets of any fabric that have a LUN on it."""
    users: Dict[str, Set[str]] = {}
    for lun in _folders(root, "*/*/tpgt_*/lun/lun_*"):
        name = _backstore_of(lun)
        if name is not None:
            users.setdefault(name, set()).add(lun.parents[2].name)
    return users


def _backstore_of(lun: Path) -> Optional[str]:
    """The backstore of a LUN: its name for a block backstore, plugin and name otherwise."""
    for backstore in _links(lun):
        if backstore.parent.parent.name == "core":
            is_block = backstore.parent.name.startswith(_BLOCK)
            return backstore.name if is_block else f"{backstore.parent.name}/{backstore.name}"
    return None


def _links(folder: Path) -> List[Path]:
    try:
        return [path.resolve() for path in folder.iterdir() if path.is_symlink()]
    except FileNotFoundError:
        return []


def _folders(folder: Path, pattern: str) -> Iterable[Path]:
    for _ in range(_MAX_LISTINGS):
        with suppress(FileNotFoundError):  # another export was removed during the listing: list again
            return sorted(path for path in folder.glob(pattern) if path.is_dir())
    raise ToolError(f"LIO's objects below {folder} changed while they were listed; try again")


def _number(path: Path) -> int:
    return int(path.name.rpartition("_")[2])


def _portal(name: str) -> Portal:
    address, _, port = name.rpartition(":")
    return Portal(address, int(port))


def _read(path: Path) -> str:
    return text_if_readable(path).strip("\0")
