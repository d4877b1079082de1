"""The ISO of a roll: read without mounting it, and built from the roll's sources."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from rocks.core.errors import BusyError, HostError, UserError
from rocks.core.files import rename_file, write_file
from rocks.core.names import printable
from rocks.install.rolls.content import (
    COMMANDS,
    DEBS,
    GRAPHS,
    INCLUDE,
    INSTALLER,
    NODES,
    RPMS,
    SOURCES,
    RollId,
    check_installer,
    read_description,
    read_owner,
    read_roll,
)
from rocks.install.rolls.package_files import read_package
from rocks.install.rolls.signatures import MANIFEST, is_safe_path, manifest_text, sign_manifest
from rocks.library.headers import reader_of, stated_bytes
from rocks.library.xorriso import failure_of, run_xorriso, write_iso

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rocks.core.process import Finished
    from rocks.install.rolls.content import RollDescription


# ISO images of rolls, read by xorriso without mounting them.
#
# A file on an ISO may have any name, and may be a link; therefore an image is listed and checked before anything of it
# is extracted, and only the folders of rolls are.


_SECONDS = 7200
_BLOCK_BYTES = 2048
_DESCRIPTOR = re.compile(r"'/([^/']+)/([^/']+)/([^/']+)/roll-([^/']+)\.xml'")
_LISTED = re.compile(r"(\S)\S{9}\S*\s+\d+\s+\d+\s+\d+\s+(\d+)\s+\S+\s+\S+\s+\S+\s+'/(.*?)'(?: -> .*)?")


def find_rolls(iso: Path) -> list[RollId]:
    """The rolls on an image, each a folder NAME/VERSION/ARCH with roll-NAME.xml.

    UserError for an image that does not exist, is no ISO, is cut off, or has no roll.
    """
    _check_image(iso)
    done = _read(iso, ["-find", "/", "-name", "roll-*.xml", "--"])
    found = {
        RollId(*match.groups()[:3])
        for line in done.text.splitlines()
        if (match := _DESCRIPTOR.fullmatch(line)) and match[4] == match[1]
    }
    rolls = sorted(roll for roll in found if is_safe_path("/".join(roll)))
    if done.exit_status != 0 or not rolls:
        raise UserError(
            f"{iso} is not the ISO of a roll: it has no NAME/VERSION/ARCH/roll-NAME.xml; rocks create roll makes one"
        )
    return rolls


def extract_roll(iso: Path, roll: RollId, folder: Path) -> None:
    """Extract the folder of one roll to `folder`, which must not exist.

    UserError, with nothing extracted, for links, devices, names that leave the folder, and files that together are
    larger than the image. The files are this user's: an image states owners, too, and a local user could be one.
    """
    source = "/" + "/".join(roll)
    needed, free = _check_listing(iso, source), shutil.disk_usage(folder.parent).free
    if needed > free:
        raise HostError(
            f"the roll {roll} needs {_mb(needed)} MB in {folder.parent.parent}, and {_mb(free)} MB are free: "
            "remove files there, then repeat the command"
        )
    done = _read(iso, ["-osirrox", "on", "-extract", source, str(folder)])
    if os.strerror(errno.ENOSPC) in done.error_text:  # many small files take more than their bytes
        raise HostError(
            f"the file system of {folder.parent.parent} became full with the roll {roll}: remove files there, then "
            "repeat the command"
        )
    if done.exit_status != 0 or folder.is_symlink() or not folder.is_dir():
        raise UserError(f"{iso} is damaged: {failure_of(done)}; get it again")
    try:
        for path, folders, files in os.walk(folder):
            _take_over(Path(path), 0o755)
            for name in (*folders, *files):
                # the image may have been exchanged since it was listed, and a link leads out of the folder
                kind = Path(path, name).lstat().st_mode
                if not stat.S_ISDIR(kind) and not stat.S_ISREG(kind):
                    raise UserError(f"{iso} was altered while it was read; get it again")
            for name in files:
                _take_over(Path(path, name), 0o644)
    except OSError as error:
        raise HostError(f"cannot use what was extracted to {folder}: {error.strerror}") from None


def _take_over(path: Path, mode: int) -> None:
    """Give this user a file or folder, then the mode. OSError."""
    os.chown(path, os.geteuid(), os.getegid())
    path.chmod(mode)


def _check_listing(iso: Path, source: str) -> int:
    """The bytes of all files below a folder of the image. Errors as of `extract_roll`."""
    done = _read(iso, ["-find", source, "-exec", "lsdl", "--"])
    total = 0
    for line in done.text.splitlines():
        match = _LISTED.fullmatch(line)
        if match is None or match[1] not in "-d" or not is_safe_path(match[3]):
            raise UserError(
                f"{iso} has a file that no roll has (a link, a device, or an unsafe name): {line[-120:]}; get it again"
            )
        total += int(match[2])
    if done.exit_status != 0:
        raise UserError(f"{iso} is damaged: {failure_of(done)}; get it again")
    if total > _size(iso):
        raise UserError(f"{iso} is damaged: its files have {total} bytes, more than itself; get it again")
    return total


def _mb(size: int) -> int:
    return -(-size // 1_000_000)


def _check_image(iso: Path) -> None:
    """UserError unless the file begins as an ISO and is as long as it states."""
    try:
        kind = iso.stat().st_mode
        if not stat.S_ISREG(kind) and not stat.S_ISBLK(kind):
            raise UserError(f"{iso} is neither a file nor a drive; give the file of an ISO")
        with iso.open("rb") as file:
            is_iso = os.pread(file.fileno(), 6, 16 * _BLOCK_BYTES) == b"\x01CD001"
            stated = stated_bytes("iso", reader_of(file.fileno()))
    except OSError as error:
        raise UserError(f"cannot read {iso}: {error.strerror}; give the file of an ISO") from None
    if not is_iso:
        raise UserError(f"{iso} is not an ISO: rocks create roll makes one")
    if stated > _size(iso):
        raise UserError(f"{iso} is cut off: it states {stated} bytes and has {_size(iso)}; get it again")


def _size(iso: Path) -> int:
    """Bytes of a file or of a block device."""
    with iso.open("rb") as file:
        return file.seek(0, os.SEEK_END)


def _read(iso: Path, arguments: Sequence[str]) -> Finished:
    return run_xorriso(["-abort_on", "FAILURE", "-indev", f"stdio:{iso.absolute()}", *arguments], 0)


# The sources of a roll: the folder of its roll-NAME.xml, and what of it becomes part of the roll.


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


# Builds the ISO of a roll from its source folder.


EARLIEST = 315532800  # 1980: dates of files on an ISO begin there on some systems
_MEGABYTE = 1024 * 1024


def create_roll(description_path: Path, output: Path, epoch: int | None = None, key: str = "") -> Path:
    """Build the ISO of the roll that roll-NAME.xml describes, from the folder of that file; returns its path.

    `epoch` is the time of all files on it, in seconds since 1970; default: that in roll-NAME.xml. The same sources and
    time give the same bytes. With `key`, gpg signs the manifest with that secret key of this user. UserError and
    StateError name the file that is wrong, and no ISO is made; BusyError while the same ISO is being built.
    """
    description, data = read_sources(description_path)
    source = description_path.absolute().parent
    iso = output.absolute() / description.iso_name
    with work_folder(iso) as work:
        tree = work / "tree"
        folder = tree.joinpath(*description.roll)
        folder.mkdir(parents=True)
        write_file(folder / description_path.name, data)
        copy_profile(source, folder, description.roll.name)
        copy_packages(source, folder, description)
        read_roll(folder, description.roll, str(source))
        check_installer(folder, str(source))
        write_file(folder / MANIFEST, manifest_text(folder))
        made_at = max(epoch if epoch is not None else description.made_at or 0, EARLIEST)
        if key:
            sign_manifest(folder, key, made_at)
        roll = description.roll
        write_file(tree / ".discinfo", f"{made_at}\n{roll.name}\n{roll.arch}\n1\n")
        write_iso(tree, work / iso.name, f"{roll.name}-{roll.version}", made_at)
        _check_size(work / iso.name, description)
        rename_file(work / iso.name, iso)
    return iso


@contextlib.contextmanager
def work_folder(result: Path) -> Iterator[Path]:
    """A new folder beside the file that is built, removed at the end; what a killed build left is removed before.

    Nobody else enters it: others could exchange what is built, or hold its lock. UserError and HostError when it cannot
    be there, or is another user's, BusyError while the same file is being built.
    """
    work = result.with_name(f".{result.name}.building")
    try:
        if not result.parent.is_dir():
            raise UserError(f"{result.parent} is not a folder; make it, or give another")
        work.mkdir(0o700, exist_ok=True)
        descriptor = os.open(work, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise HostError(f"cannot use {work}: {error.strerror}") from None
    try:
        if os.fstat(descriptor).st_uid != os.geteuid():
            raise UserError(
                f"{work} is another user's, who could exchange what is built in it; remove it, or give a folder in "
                "which only you can write"
            )
        os.fchmod(descriptor, 0o700)  # of a killed build of an older version
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for left in work.iterdir():
            shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except BlockingIOError:
        raise BusyError(
            f"{result} is being built by another command; repeat this one when it has ended"
        ) from None
    except OSError as error:
        raise HostError(f"cannot build {result}: {error.strerror} ({error.filename})") from None
    finally:
        os.close(descriptor)


def _check_size(iso: Path, description: RollDescription) -> None:
    size_mb = -(-iso.stat().st_size // _MEGABYTE)
    if description.maximum_mb and size_mb > description.maximum_mb:
        raise UserError(
            f"the ISO of {description.roll} has {size_mb} MB, and roll-{description.roll.name}.xml permits "
            f"{description.maximum_mb}. A roll is one image, also when it is larger than a CD: "
            'write <iso maxsize="0"/>, or split the roll'
        )
