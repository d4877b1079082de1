"""Builds the ISO of a roll from its source folder. Source: specification §6.5."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from rocks.cluster.names import printable
from rocks.errors import BusyError, HostError, UserError
from rocks.files import rename_file, write_file
from rocks.rollkit.content import (
    COMMANDS,
    DEBS,
    GRAPHS,
    INCLUDE,
    INSTALLER,
    NODES,
    RPMS,
    SOURCES,
    check_installer,
    read_owner,
    read_roll,
)
from rocks.rollkit.description import read_description
from rocks.rollkit.iso import write_iso
from rocks.rollkit.manifest import MANIFEST, is_safe_path, manifest_text
from rocks.rollkit.packages import read_package
from rocks.rollkit.signatures import sign_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rocks.rollkit.description import RollDescription

PACKAGES = ("packages", "RPMS", "SRPMS", "dist")
"""Folders of a roll's sources in which built packages are looked for, with the folders below them."""

_EARLIEST = 315532800  # 1980: dates of files on an ISO begin there on some systems
_MAKE_VARIABLE = re.compile(r"^(ROLLNAME|VERSION|RELEASE)[ \t]*:?=[ \t]*([^\s#]+)", re.MULTILINE)
_MEGABYTE = 1024 * 1024


def create_roll(description_path: Path, output: Path, epoch: int | None = None, key: str = "") -> Path:
    """Build the ISO of the roll that roll-NAME.xml describes, from the folder of that file; returns its path.

    `epoch` is the time of all files on it, in seconds since 1970; default: that in roll-NAME.xml. The same sources and
    time give the same bytes. With `key`, gpg signs the manifest with that secret key of this user. UserError and
    StateError name the file that is wrong, and no ISO is made; BusyError while the same ISO is being built.
    """
    source = description_path.absolute().parent
    try:
        data = description_path.read_bytes()
    except OSError as error:
        raise UserError(
            f"cannot read {description_path}: {error.strerror}; give the roll-NAME.xml of a roll, "
            "which rocks create new roll makes"
        ) from None
    description = read_description(data, str(description_path))
    expected = f"roll-{description.roll.name}.xml"
    if description_path.name != expected:
        raise UserError(
            f"{description_path} describes the roll {description.roll.name}: name the file {expected}"
        )
    _check_version_mk(source / "version.mk", description, description_path)
    iso = output.absolute() / description.iso_name
    with _work_folder(iso) as work:
        tree = work / "tree"
        folder = tree.joinpath(*description.roll)
        folder.mkdir(parents=True)
        write_file(folder / expected, data)
        _copy_sources(source, folder, description)
        read_roll(folder, description.roll, str(source))
        check_installer(folder, str(source))
        write_file(folder / MANIFEST, manifest_text(folder))
        made_at = max(epoch if epoch is not None else description.made_at or 0, _EARLIEST)
        if key:
            sign_manifest(folder, key, made_at)
        roll = description.roll
        write_file(tree / ".discinfo", f"{made_at}\n{roll.name}\n{roll.arch}\n1\n")
        write_iso(tree, work / iso.name, f"{roll.name}-{roll.version}", made_at)
        _check_size(work / iso.name, description)
        rename_file(work / iso.name, iso)
    return iso


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


@contextlib.contextmanager
def _work_folder(iso: Path) -> Iterator[Path]:
    """A new folder beside the ISO, removed at the end; what a killed build left is removed before."""
    work = iso.with_name(f".{iso.name}.building")
    try:
        if not iso.parent.is_dir():
            raise UserError(f"{iso.parent} is not a folder; make it, or give another")
        work.mkdir(0o755, exist_ok=True)
        descriptor = os.open(work, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise HostError(f"cannot use {work}: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for left in work.iterdir():
            shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except BlockingIOError:
        raise BusyError(
            f"{iso} is being built by another command; repeat this one when it has ended"
        ) from None
    except OSError as error:
        raise HostError(f"cannot build {iso}: {error.strerror} ({error.filename})") from None
    finally:
        os.close(descriptor)


def _copy_sources(source: Path, folder: Path, description: RollDescription) -> None:
    for name in (NODES, GRAPHS):
        for path in _files(source, source / name):
            if path.suffix == ".xml":
                text = _owned(path, description.roll.name)
                _put(folder / path.relative_to(source), text)
    for name in (COMMANDS, INCLUDE, INSTALLER):
        for path in _files(source, source / name):
            (folder / path.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / path.relative_to(source))
    (folder / COMMANDS).mkdir(exist_ok=True)
    for name in PACKAGES:
        for path in _files(source, source / name):
            if path.suffix in (".deb", ".rpm"):
                _copy_package(path, folder, description)


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


def _check_size(iso: Path, description: RollDescription) -> None:
    size_mb = -(-iso.stat().st_size // _MEGABYTE)
    if description.maximum_mb and size_mb > description.maximum_mb:
        raise UserError(
            f"the ISO of {description.roll} has {size_mb} MB, and roll-{description.roll.name}.xml permits "
            f"{description.maximum_mb}. A roll is one image, also when it is larger than a CD: "
            'write <iso maxsize="0"/>, or split the roll'
        )
