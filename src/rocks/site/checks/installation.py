"""What of this frontend is ready for the installation of hosts: rolls, the distribution made of them, services."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

from rocks.core.check_lines import MISSING, OK, WRONG, SiteCheck
from rocks.core.names import first_few
from rocks.core.systemd_units import read_units
from rocks.core.version import ROLL_NAME
from rocks.database.settings import EMBEDDED_SOCKET
from rocks.install.boot.service import how_to_begin
from rocks.install.profile_values import DEFAULT_DISTRIBUTION
from rocks.install.rolls.content import DEBS, INSTALLER
from rocks.install.rolls.description import NO_ARCHITECTURE
from rocks.install.rolls.folders import distribution_folder, roll_path, rolls_folder
from rocks.install.rolls.roll_records import load_rolls
from rocks.network.dns.changes import has_name_service

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from rocks.database.connection import Database

OS_ROLL = "os"
"""The roll with the distribution's own packages and the installer of hosts."""

_DATABASE_UNIT = "rocks-database.service"
_NAME_UNIT = "rocks-dns.service"
_UNITS = (_DATABASE_UNIT, "rocks-kickstart.service", "rocks-boot.service", _NAME_UNIT)


def check_rolls(database: Database) -> Iterator[SiteCheck]:
    """The two rolls without which no host is installed, and the distribution."""
    rows = load_rolls(database)
    enabled = [row.roll for row in rows if row.is_enabled]
    names, added = {name for name, _, _ in enabled}, {row.roll[0] for row in rows}
    remedies = {
        ROLL_NAME: f"hosts get no packages of ours: rocks add roll {ROLL_NAME}-VERSION.iso (on the frontend's ISO, in "
        f"rolls), then rocks enable roll {ROLL_NAME}",
        OS_ROLL: "hosts cannot be installed from nothing: rocks add roll os-VERSION.iso (make os-roll builds it), then "
        "rocks enable roll os",
    }
    for name, remedy in remedies.items():
        versions = ", ".join(f"{version} {arch}" for found, version, arch in enabled if found == name)
        if name in added - names:
            remedy = f"added, but not enabled: rocks enable roll {name}"
        yield SiteCheck(f"roll {name}", OK if name in names else MISSING, versions or remedy)
    yield _distribution(
        database, [roll for roll in enabled if roll[2] in (platform.machine(), NO_ARCHITECTURE)]
    )


def _distribution(database: Database, rolls: list[tuple[str, str, str]]) -> SiteCheck:
    place = distribution_folder(database)
    folder = place / DEFAULT_DISTRIBUTION / platform.machine()
    build = f"(cd {place} && rocks create distro)"
    if not folder.is_dir():
        return SiteCheck("distribution", MISSING, f"hosts have no source of packages: {build}")
    outdated = outdated_packages(folder, [roll_path(rolls_folder(database), roll) for roll in rolls])
    if outdated:
        return SiteCheck(
            "distribution",
            WRONG,
            f"other packages than in the enabled rolls ({first_few(outdated)}): {build}",
        )
    if any(name == OS_ROLL for name, _, _ in rolls) and not (folder / INSTALLER / "vmlinuz").is_file():
        return SiteCheck("distribution", WRONG, f"it has no installer, which the roll os brings: {build}")
    return SiteCheck("distribution", OK, str(folder))


def check_services(database: Database, frontend: str) -> Iterator[SiteCheck]:
    """The units of the frontend that are installed here; none where systemd does not manage the machine."""
    names = [name for name in _UNITS if name != _DATABASE_UNIT or database.settings.socket == EMBEDDED_SOCKET]
    for name, unit in read_units(names).items():
        fault = ""
        if name == _NAME_UNIT and not has_name_service():
            continue  # a site may have its names elsewhere
        if name not in (_DATABASE_UNIT, _NAME_UNIT) and unit.active == "inactive" and not unit.is_enabled:
            fault = f"no host is installed from the network: rocks add host certificate {frontend}, then "
            fault += how_to_begin(frontend)
        elif unit.active != "active":
            fault = f"{unit.active}: systemctl restart {name}; if it fails, journalctl -u {name} says why"
        elif not unit.is_enabled:
            fault = f"it does not start with this machine: systemctl enable {name}"
        yield SiteCheck(f"service {name}", WRONG if fault else OK, fault or unit.active)


def outdated_packages(folder: Path, rolls: Sequence[Path]) -> list[str]:
    """Names of the deb packages that the distribution in `folder` lacks, or has in another form than these rolls.

    By names, versions and sizes of files alone; empty for a distribution that was built of these rolls. OSError.
    """
    offered = {_file(path) for roll in rolls for path in (roll / DEBS).glob("*.deb")}
    there = {_file(path) for path in (folder / DEBS).rglob("*.deb")}
    missing = {one.package for one in offered} - {one.package for one in there}
    return sorted(missing | {one.package for one in there - offered})


class _File(NamedTuple):
    """What is known of a deb package without opening it; the version has no epoch, as in a distribution."""

    package: str
    version: str
    size_bytes: int


def _file(path: Path) -> _File:
    package, _, rest = path.name.partition("_")
    return _File(package, unquote(rest.partition("_")[0]).rpartition(":")[2], path.stat().st_size)
