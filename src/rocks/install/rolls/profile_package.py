"""The package roll-NAME-kickstart: the nodes, graphs, commands and included files of a roll, for apt and dnf.

A frontend that installs it uses them as those of an enabled roll.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rocks.core.errors import UserError
from rocks.core.files import rename_file, write_file
from rocks.core.reproducible import run_tool, set_modes_and_times
from rocks.core.version import ROLL_NAME
from rocks.install.rolls.content import COMMANDS, read_roll
from rocks.install.rolls.iso_build import EARLIEST, work_folder
from rocks.install.rolls.package_files import read_package
from rocks.install.rolls.sources import copy_profile, read_sources

if TYPE_CHECKING:
    from rocks.install.rolls.description import RollDescription

PLACE = "opt/rocks/share/rocks/rolls"
"""Folder of the installed files, without the slash; below it is a folder for each roll."""

_TREES = "etc/rocks/trees.d"
_SUMMARY = "commands, nodes and graphs of the Rocks roll"
_CONTROL = """Package: {package}
Version: {version}-{release}
Architecture: all
Maintainer: {maintainer}
Section: admin
Priority: optional
Depends: rocks-cli
Description: {summary} {name}
 The frontend uses them from the installation of this package on.
"""
_SPEC = """Name: {package}
Version: {version}
Release: {release}
Summary: {summary} {name}
License: Unspecified
BuildArch: noarch
Requires: rocks-cli
%description
The frontend uses them from the installation of this package on.
%install
cp -a {tree}/. %{{buildroot}}
%files
{files}
"""


def create_profile_package(description_path: Path, output: Path, kind: str, epoch: int | None = None) -> Path:
    """Build the package of the roll that roll-NAME.xml describes, as deb or rpm; returns its path.

    `epoch` as of `create_roll`; the same sources and time give the same bytes. Errors as of it, ToolError when
    dpkg-deb or rpmbuild fails.
    """
    description, data = read_sources(description_path)
    source, roll = description_path.absolute().parent, description.roll
    if "_" in roll.version and kind == "deb":
        raise UserError(
            f"{description_path}: the version {roll.version} has a _, and that of a deb cannot have one"
        )
    with work_folder(output.absolute() / f"roll-{roll.name}-kickstart.{kind}") as work:
        tree = work / "tree"
        folder = tree / PLACE / roll.name
        folder.mkdir(parents=True)
        write_file(folder / description_path.name, data)
        copy_profile(source, folder, roll.name)
        read_roll(folder, roll, str(source))
        if roll.name != ROLL_NAME:  # whose commands and nodes come with the programs
            (tree / _TREES).mkdir(parents=True)
            write_file(tree / _TREES / f"package-{roll.name}", f"/{PLACE}/{roll.name}/{COMMANDS}\n")
        made_at = max(epoch if epoch is not None else description.made_at or 0, EARLIEST)
        set_modes_and_times(tree, made_at)
        built = (
            _build_deb(work, description, made_at)
            if kind == "deb"
            else _build_rpm(work, description, made_at)
        )
        package = output.absolute() / read_package(built).file_name
        rename_file(built, package)
    return package


def _fill(text: str, description: RollDescription, **more: str) -> str:
    roll = description.roll
    return text.format(
        package=f"roll-{roll.name}-kickstart",
        name=roll.name,
        version=roll.version,
        release=description.release,
        maintainer="Site operators <operators@example.org>",
        summary=_SUMMARY,
        **more,
    )


def _build_deb(work: Path, description: RollDescription, epoch: int) -> Path:
    built = work / "built.deb"
    (work / "tree/DEBIAN").mkdir()
    write_file(work / "tree/DEBIAN/control", _fill(_CONTROL, description), mode=0o644)
    set_modes_and_times(work / "tree", epoch)
    arguments = ["dpkg-deb", "--root-owner-group", "-Zxz", "--build", str(work / "tree"), str(built)]
    run_tool(arguments, "dpkg", epoch)
    return built


def _build_rpm(work: Path, description: RollDescription, epoch: int) -> Path:
    if any(character in str(work) for character in " %\"'\\$`;&|<>()*?[]#~\n"):
        raise UserError(f"{work} has characters that rpmbuild takes for its own: give dir= a plain path")
    files = [f"/{PLACE}/{description.roll.name}"]
    if (work / "tree/etc").exists():
        files.append(f"/{_TREES}/package-{description.roll.name}")
    write_file(
        work / "package.spec", _fill(_SPEC, description, tree=str(work / "tree"), files="\n".join(files))
    )
    definitions = {
        "_topdir": str(work / "rpm"),
        "_rpmdir": str(work / "built"),
        "_tmppath": str(work),
        "_buildhost": "localhost",
        "use_source_date_epoch_as_buildtime": "1",
        "clamp_mtime_to_source_date_epoch": "1",
        "__os_install_post": "%{nil}",
        "_build_id_links": "none",
    }
    arguments = [part for name, value in definitions.items() for part in ("--define", f"{name} {value}")]
    run_tool(["rpmbuild", "-bb", "--nodeps", *arguments, str(work / "package.spec")], "rpm", epoch)
    (built,) = (work / "built").rglob("*.rpm")
    return built
