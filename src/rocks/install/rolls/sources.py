"""The sources of a roll: the folder of its roll-NAME.xml, and what of it becomes part of the roll."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from rocks.core.errors import UserError
from rocks.core.files import write_file
from rocks.core.names import printable
from rocks.install.rolls.checksums import is_safe_path
from rocks.install.rolls.content import (
    COMMANDS,
    DEBS,
    GRAPHS,
    INCLUDE,
    INSTALLER,
    NODES,
    RPMS,
    SOURCES,
    read_owner,
)
from rocks.install.rolls.description import read_description
from rocks.install.rolls.package_files import read_package

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rocks.install.rolls.description import RollDescription

PACKAGES = ("packages", "RPMS", "SRPMS", "dist")
"""Folders of a roll's sources in which built packages are looked for, with the folders below them."""

_MAKE_VARIABLE = re.compile(r"^(ROLLNAME|VERSION|RELEASE)[ \t]*:?=[ \t]*([^\s#]+)", re.MULTILINE)


def read_sources(path: Path) -> tuple[RollDescription, bytes]:
    """The description of the roll whose sources have this roll-NAME.xml, and the file's content.

    UserError and StateError for a file that is not that of a roll, has another name, or disagrees with version.mk.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"cannot read {path}: {error.strerror}; give the roll-NAME.xml of a roll, "
            "which rocks create new roll makes"
        ) from None
    description = read_description(data, str(path))
    expected = f"roll-{description.roll.name}.xml"
    if path.name != expected:
        raise UserError(f"{path} describes the roll {description.roll.name}: name the file {expected}")
    _check_version_mk(path.absolute().with_name("version.mk"), description, path)
    return description, data


def _check_version_mk(path: Path, description: RollDescription, description_path: Path) -> None:
    """UserError when version.mk, where there is one, states another name, version or release."""
    if not path.is_file():
        return
    roll = description.roll
    stated = dict(_MAKE_VARIABLE.findall(path.read_text("utf-8", "replace")))
    for name, value in (("ROLLNAME", roll.name), ("VERSION", roll.version), ("RELEASE", description.release)):
        if stated.get(name, value) != value:
            raise UserError(
                f"{path} states {name} = {printable(stated[name])}, and {description_path.name} {value}: "
                "give both the same"
            )


def copy_profile(source: Path, folder: Path, roll: str) -> None:
    """Copy nodes, graphs, commands and included files to the roll's folder. UserError for what no roll can have."""
    for name in (NODES, GRAPHS):
        for path in _files(source, source / name):
            if path.suffix == ".xml":
                text = _owned(path, roll)
                _put(folder / path.relative_to(source), text)
    _copy_files(source, folder, COMMANDS, INCLUDE)
    (folder / COMMANDS).mkdir(exist_ok=True)


def copy_packages(source: Path, folder: Path, description: RollDescription) -> None:
    """Copy the built packages and the installer of hosts to the roll's folder. UserError for what no roll can have."""
    _copy_files(source, folder, INSTALLER)
    for name in PACKAGES:
        for path in _files(source, source / name):
            if path.suffix in (".deb", ".rpm"):
                _copy_package(path, folder, description)


def _copy_files(source: Path, folder: Path, *names: str) -> None:
    for name in names:
        for path in _files(source, source / name):
            (folder / path.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / path.relative_to(source))


def _copy_package(path: Path, folder: Path, description: RollDescription) -> None:
    package = read_package(path)
    if package.kind == "src" and not description.has_sources:
        return
    if not package.runs_on(description.roll.arch):
        raise UserError(
            f"{path} is for {package.arch}, and the roll is for {description.roll.arch}: build it for that"
        )
    place = {"deb": DEBS, "rpm": RPMS, "src": SOURCES}[package.kind]
    target = folder / place / package.file_name
    if not is_safe_path(package.file_name):
        raise UserError(
            f"{path} has a name or version that a file cannot have: {printable(package.file_name)}"
        )
    if target.exists():
        raise UserError(f"{path} is {package.file_name}, which is there twice; remove one of the files")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, target)


def _files(source: Path, folder: Path) -> Iterator[Path]:
    """The files below a folder of the sources, without byte code, hidden files and editors' backups.

    UserError for a link that leaves the sources.
    """
    for path, names, files in os.walk(folder, followlinks=False):
        names[:] = sorted(name for name in names if not name.startswith(".") and name != "__pycache__")
        for name in sorted([*files, *(name for name in names if Path(path, name).is_symlink())]):
            file = Path(path, name)
            if name.startswith(".") or name.endswith(("~", ".pyc", ".orig", ".rej")):
                continue
            if file.is_symlink() and not file.resolve().is_relative_to(source.resolve()):
                raise UserError(
                    f"{file} is a link to {file.resolve()}, outside the roll: copy the file instead"
                )
            if not file.is_file():
                raise UserError(f"{file} is not a file; a roll has only files and folders")
            yield file


def _owned(path: Path, roll: str) -> bytes:
    """A node or graph file with the attribute roll in its root."""
    data = path.read_bytes()
    if read_owner(data, roll, str(path)):
        return data
    end = _root_place(data)
    while data[end : end + 1].isalnum():
        end += 1
    return data[:end] + f' roll="{roll}"'.encode() + data[end:]


def _root_place(data: bytes) -> int:
    """Where the name of the root element begins, in a document that is well-formed and has no DOCTYPE."""
    place = data.index(b"<")
    while data[place + 1 : place + 2] in (b"?", b"!"):
        closing = b"-->" if data.startswith(b"<!--", place) else b"?>"
        place = data.index(b"<", data.index(closing, place + 2))
    return place + 1


def _put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, data)
