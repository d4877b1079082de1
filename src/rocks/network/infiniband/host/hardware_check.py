"""Checks on real hardware: whether an adapter's files are as the kernel documents them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import List, Tuple

from rocks.core.errors import RocksError, StateError
from rocks.network.infiniband.host.pkey_rules import InfinibandVf, PkeyDriver, no_vf
from rocks.network.infiniband.host.pkeys import read_text, write_changed

_KEY = r"0x[0-9a-f]{4}"
_INDEX = r"none|[0-9]+"
_GUID = r"[0-9a-f]{1,16}"
_GID = r"[0-9a-f]{4}(:[0-9a-f]{4}){7}"
_TEST_GUID = "2000000000000f0"


def departures(sysfs: Path, driver: PkeyDriver) -> List[str]:
    """A line for each file that is missing or has an unexpected value; read only."""
    found: List[str] = []
    for device in sorted((sysfs / "class/infiniband").glob("*")):
        for port in sorted((device / "ports").glob("*")):
            found += _wrong(port / "pkeys" / "0", _KEY) + _wrong(port / "gids" / "0", _GID)
            found += _wrong(port / "state", r"[0-9]: [A-Z_]+")
    for vf in driver.vfs():
        if vf.interface == "index_map":
            found += _wrong_map(_iov(sysfs, vf), vf)
        elif vf.interface == "netlink" and not vf.link:
            found.append(
                f"{vf.device} has no network device, which its functions need to get GUIDs; load ib_ipoib"
            )
    return found


def try_vf(sysfs: Path, driver: PkeyDriver, address: str) -> List[str]:
    """Write to a free VF, read back, and restore the values; a line for each difference.

    StateError when there is no such VF, or its values cannot be read back.
    """
    vf = next((vf for vf in driver.vfs() if vf.address == address), None)
    if vf is None:
        raise no_vf(address)
    if vf.interface != "index_map":
        raise StateError(f"{vf.device} cannot report the settings of {address}; start a guest on it")
    iov = _iov(sysfs, vf)
    found: List[str] = []
    for port in sorted((iov / address / "ports").glob("*")):
        indexes = sorted((port / "pkey_idx").glob("*"), key=lambda entry: int(entry.name))
        guid = iov / "ports" / port.name / "admin_guids" / read_text(port / "gid_idx" / "0")
        for path, text in ((indexes[-1], "0"), (indexes[-1], "none"), (guid, _TEST_GUID)):
            found += _test_write(path, text)
    return found


def _test_write(path: Path, text: str) -> List[str]:
    before = read_text(path)
    try:
        write_changed(path, text)
        after = read_text(path)
        write_changed(path, before)
        restored = read_text(path)
    except RocksError as error:
        return [str(error)]
    found = [] if after == text else [f"{path} was set to {text} and reads {after}"]
    return (
        found
        if restored == before
        else [*found, f"{path} was {before} and could not be restored: {restored}"]
    )


def _wrong_map(iov: Path, vf: InfinibandVf) -> List[str]:
    found: List[str] = []
    ports = sorted((iov / vf.address / "ports").glob("*"))
    if not ports:
        found.append(f"{iov / vf.address / 'ports'} has no port")
    for port in ports:
        physical = iov / "ports" / port.name
        for path, form in _files(port, physical):
            found += _wrong(path, form)
    return found


def _files(port: Path, physical: Path) -> Tuple[Tuple[Path, str], ...]:
    return (
        (port / "gid_idx" / "0", r"[0-9]+"),
        (port / "pkey_idx" / "0", _INDEX),
        (physical / "pkeys" / "0", _KEY),
        (physical / "gids" / "0", _GID),
        (physical / "admin_guids" / "1", _GUID),
    )


def _wrong(path: Path, form: str) -> List[str]:
    try:
        text = read_text(path)
    except RocksError as error:
        return [str(error)]
    return [] if re.fullmatch(form, text) else [f"{path} reads {text[:60]!r}"]


def _iov(sysfs: Path, vf: InfinibandVf) -> Path:
    return sysfs / "class/infiniband" / vf.device / "iov"
