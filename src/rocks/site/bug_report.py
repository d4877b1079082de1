"""What a report of a fault needs to say about this frontend. No names of users, addresses, attributes or secrets."""

from __future__ import annotations

import platform
import shutil
from typing import TYPE_CHECKING

import rocks
from rocks.core.errors import RocksError
from rocks.core.names import counted
from rocks.core.systemd_units import read_units
from rocks.database.migrate import read_version
from rocks.database.versions import newest_version
from rocks.install.rolls.folders import load_rolls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rocks.database.connection import Database

_UNITS = tuple(f"rocks-{name}.service" for name in ("database", "kickstart", "boot", "dns"))
_PROGRAMS = ("ssh", "mariadbd", "dnsmasq", "named", "virsh", "qemu-system-x86_64", "zpool", "slurmctld")
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


def report_bug(database: Database) -> Iterator[tuple[str, str]]:
    """(subject, text) pairs. What cannot be read has the reason as its text, so that something is always printed."""
    yield "rocks", rocks.__version__
    yield "python", platform.python_version()
    yield "system", _system()
    yield "kernel", f"{platform.release()} {platform.machine()}"
    yield "schema", _or_reason(lambda: f"{read_version(database.settings)}, needed {newest_version()}")
    yield "rolls", _or_reason(lambda: _rolls(database))
    yield "counts", _or_reason(lambda: _counts(database))
    yield "programs", ", ".join(name for name in _PROGRAMS if shutil.which(name, path=_PATH)) or "none"
    for name, unit in read_units(_UNITS).items():
        yield name, f"{unit.active}, {'enabled' if unit.is_enabled else 'not enabled'}"


def _or_reason(read: Callable[[], str]) -> str:
    try:
        return read()
    except RocksError as error:
        return f"not readable: {error}"


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return "unknown"


def _rolls(database: Database) -> str:
    rows = load_rolls(database)
    return ", ".join(f"{r.name} {r.version}{'' if r.is_enabled else ' (disabled)'}" for r in rows) or "none"


def _counts(database: Database) -> str:
    ((hosts, machines, networks),) = database.rows(
        "SELECT (SELECT COUNT(*) FROM nodes), (SELECT COUNT(*) FROM vm_nodes), (SELECT COUNT(*) FROM subnets)"
    )
    return f"{counted(hosts, 'host')}, {machines} of them virtual machines, {counted(networks, 'network')}"
