"""Creation and removal of LIO objects through rtslib.

rtslib caches backstores in the process, but other programs may create some: the cache is cleared before each use, and
one thread uses rtslib at a time.
"""

from __future__ import annotations

import importlib
import threading
from contextlib import contextmanager
from dataclasses import astuple
from pathlib import Path
from typing import Any, Iterator, Optional

from rocks.core.clock import Deadline, wait_seconds
from rocks.core.errors import StateError, ToolError
from rocks.storage.iscsi_target.configuration import Backstore, TargetConfig
from rocks.storage.iscsi_target.exports import ExportSpec
from rocks.storage.iscsi_target.listing import read_config
from rocks.storage.iscsi_target.names import backstore_name
from rocks.storage.iscsi_target.rules import attributes_of

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
