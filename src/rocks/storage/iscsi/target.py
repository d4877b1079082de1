"""iSCSI targets through LIO: block devices, each exported to one host.

The configuration is not saved: after a boot the daemon creates it again from its records, with the same serials,
before any login. It is read from configfs, checked by pure functions, and changed through rtslib. `tests/fakes` has LIO
in memory.
"""

from __future__ import annotations

import importlib
import re
import socket
import stat
import threading
from contextlib import contextmanager, suppress
from dataclasses import astuple
from pathlib import Path
from typing import (
    Any,
    ContextManager,
    Dict,
    Iterable,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Set,
    Tuple,
)

from rocks.core.clock import Deadline, wait_seconds
from rocks.core.dataclasses import dataclass
from rocks.core.errors import IncoherentError, StateError, ToolError, UserError
from rocks.core.files import text_if_readable
from rocks.fleet.host.change import CHANGED, UNCHANGED, Change
from rocks.storage.iscsi.names import (
    ChapSecrets,
    backstore_name,
    check_chap,
    check_iscsi_name,
    check_portal,
    is_own_backstore,
)


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


# --- records of LIO's configuration, including incomplete objects ----------------------------------------------------


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


# --- checks of exports, their missing parts, and conflicts with existing objects -------------------------------------


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


# --- read LIO's configuration from configfs (/sys/kernel/config/target) ----------------------------------------------
# Objects that are removed during the reading are omitted.


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


# --- create and remove LIO objects through rtslib --------------------------------------------------------------------
# rtslib caches backstores in the process, but other programs may create some: the cache is cleared before each use, and
# one thread uses rtslib at a time.


_ONE_AT_A_TIME = threading.RLock()
_LOGOUT_SECONDS = 20.0
_POLL_SECONDS = 0.05
_SECRETS = ("chap_userid", "chap_password", "chap_mutual_userid", "chap_mutual_password")


@contextmanager
def lio(what: str) -> Iterator[Any]:
    """rtslib, ready for use; errors of rtslib and the kernel become ToolError. `what` names the operation."""
    try:
        library = importlib.import_module("rtslib_fb")
    except ImportError:
        raise StateError("this NAS has no rtslib: install the package python3-rtslib-fb") from None
    with _ONE_AT_A_TIME:
        try:
            _create_folders(library)
            library.RTSRoot()  # sets the kernel's dbroot, which works only before the first backstore
            importlib.import_module("rtslib_fb.tcm").bs_cache.clear()
            yield library
        except (library.RTSLibError, OSError) as error:
            raise ToolError(f"LIO on this NAS did not {what}: {error}") from None


def complete(
    library: Any, spec: ExportSpec, config: Optional[TargetConfig], backstore: Optional[Backstore]
) -> None:
    """Create missing objects, remove surplus ones; the portal group is disabled meanwhile."""
    group = library.TPG(library.Target(library.FabricModule("iscsi"), spec.target), 1)
    group.enable = False
    storage_object = _ensure_storage_object(library, spec, backstore)
    for name, value in attributes_of(spec).items():
        group.set_attribute(name, value)
    lun = _ensure_lun(library, group, storage_object, config)
    _ensure_acl(library, spec, group, lun)
    _ensure_portal(library, spec, group)
    group.enable = True


def remove(library: Any, target: str, config: Optional[TargetConfig], backstore: Optional[Backstore]) -> None:
    """Close sessions, then remove the access list, LUN, target and backstore, in this order."""
    if config is not None:
        existing = library.Target(library.FabricModule("iscsi"), target, "lookup")
        for group in existing.tpgs:
            group.enable = False
        _wait_for_no_session(target)
        existing.delete()
    if backstore is not None:
        library.BlockStorageObject(backstore.name).delete()


def _ensure_storage_object(library: Any, spec: ExportSpec, backstore: Optional[Backstore]) -> Any:
    name = backstore_name(spec.target)
    if backstore is not None and not backstore.is_enabled:
        library.BlockStorageObject(name).delete()
        backstore = None
    if backstore is None:
        return library.BlockStorageObject(
            name, dev=spec.device_path, wwn=spec.unit_serial, readonly=spec.read_only
        )
    existing = library.BlockStorageObject(name)
    if not backstore.unit_serial:
        existing.wwn = spec.unit_serial
    return existing


def _ensure_lun(library: Any, group: Any, storage_object: Any, config: Optional[TargetConfig]) -> Any:
    found = None
    luns = {lun.number: lun.backstore for lun in config.luns} if config is not None else {}
    for lun in list(group.luns):
        if lun.lun == 0 and luns.get(0) == storage_object.name:
            found = lun
        else:
            lun.delete()
    return found if found is not None else library.LUN(group, 0, storage_object)


def _ensure_acl(library: Any, spec: ExportSpec, group: Any, lun: Any) -> None:
    for acl in list(group.node_acls):
        if acl.node_wwn != spec.initiator:
            acl.delete()
    acl = library.NodeACL(group, spec.initiator)
    secrets = ("", "", "", "") if spec.chap is None else astuple(spec.chap)
    for name, secret in zip(_SECRETS, secrets):
        if getattr(acl, name) != secret:
            setattr(acl, name, secret)
    found = None
    for mapped in list(acl.mapped_luns):
        if mapped.mapped_lun == 0 and any(path.is_symlink() for path in Path(mapped.path).iterdir()):
            found = mapped
        else:
            mapped.delete()
    if found is None:
        library.MappedLUN(acl, 0, lun, write_protect=spec.read_only)
    elif found.write_protect != spec.read_only:
        found.write_protect = spec.read_only


def _ensure_portal(library: Any, spec: ExportSpec, group: Any) -> None:
    for portal in list(group.network_portals):
        if (portal.ip_address, portal.port) != (spec.portal_address, spec.portal_port):
            portal.delete()
    try:
        library.NetworkPortal(group, spec.portal_address, spec.portal_port)
    except library.RTSLibError:
        raise StateError(
            f"LIO cannot listen on {spec.portal_address}:{spec.portal_port} for {spec.target}: "
            "another program may use the port"
        ) from None


def _wait_for_no_session(target: str) -> None:
    deadline = Deadline(_LOGOUT_SECONDS)
    while True:
        config = read_config(target)
        sessions = [acl.initiator for acl in config.acls if acl.has_session] if config is not None else []
        if not sessions:
            return
        if deadline.passed():
            raise ToolError(
                f"LIO on this NAS did not close the sessions of {', '.join(sessions)} to {target}"
            )
        wait_seconds(_POLL_SECONDS)


def _create_folders(library: Any) -> None:
    """Create folders that rtslib and the kernel require but do not create."""
    base = Path(getattr(library.RTSRoot, "_preferred_dbroot", "/etc/target"))
    for folder in (Path("/etc/target"), base, base / "pr", base / "alua"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)


# --- the targets of a NAS --------------------------------------------------------------------------------------------


class Targets:
    """The iSCSI targets of a NAS with a name prefix, for example `iqn.2001-04.com.nas-0-0:`; others are not changed."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def ensure_export(self, spec: ExportSpec) -> Change:
        """Create or complete this export; the target is enabled last.

        Surplus access list entries, portals and LUNs that are not in use are removed. IncoherentError when the target
        has another device, serial or user; StateError when the device is missing or already exported; UserError for
        invalid names, addresses or secrets.
        """
        check_export(spec, self._prefix)
        with self._opened(f"export {spec.device_path} as {spec.target}") as library:
            config, backstores = self._read_config(spec.target), self._read_backstores()
            check_no_conflict(spec, config, backstores)
            if not missing_parts(spec, config, backstores):
                return UNCHANGED
            if not self._has_device(spec.device_path):
                raise device_missing(spec)
            if not self._has_address(spec.portal_address):
                raise address_not_local(spec)
            self._complete(library, spec, config, find_backstore(spec.target, backstores))
            return CHANGED

    def ensure_export_gone(self, target: str) -> Change:
        """Remove the target and its backstore; sessions are closed first.

        IncoherentError when the backstore serves another target.
        """
        check_target(target, self._prefix)
        with self._opened(f"remove {target}") as library:
            config = self._read_config(target)
            backstore = check_backstore_unshared(target, self._read_backstores())
            if config is None and backstore is None:
                return UNCHANGED
            self._remove(library, target, config, backstore)
            return CHANGED

    def read_exports(self) -> Tuple[ExportFact, ...]:
        """All targets of this system by name."""
        backstores = self._read_backstores()
        return tuple(
            describe(config, backstore_of_lun_0(config, backstores)) for config in self._read_configs()
        )

    def read_secrets(self, target: str) -> Optional[ChapSecrets]:
        """The secrets of a target's only access list entry; None without the target, an entry or secrets."""
        check_target(target, self._prefix)
        return only_secrets(self._read_config(target))

    def read_unused_backstores(self) -> Tuple[str, ...]:
        """Names of removed targets whose backstore still exists and keeps its volume busy."""
        return unused_backstores(
            self._prefix, (config.target for config in self._read_configs()), self._read_backstores()
        )

    # --- LIO; a fake has its own

    def _opened(self, what: str) -> ContextManager[Any]:
        return lio(what)

    _complete = staticmethod(complete)
    _remove = staticmethod(remove)

    def _read_config(self, target: str) -> Optional[TargetConfig]:
        return read_config(target)

    def _read_configs(self) -> Tuple[TargetConfig, ...]:
        return read_configs(self._prefix)

    def _read_backstores(self) -> Tuple[Backstore, ...]:
        return read_backstores()

    def _has_device(self, path: str) -> bool:
        try:
            return stat.S_ISBLK(Path(path).stat().st_mode)
        except OSError:
            return False

    def _has_address(self, address: str) -> bool:
        """LIO accepts addresses of other machines, so bind a socket to check the address."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind((address, 0))
            except OSError:
                return False
        return True
