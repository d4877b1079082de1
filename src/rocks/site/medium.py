"""The medium of a saved site, from which the ISO of a frontend makes this frontend again on a blank machine."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from rocks.core.errors import HostError, StateError, UserError
from rocks.core.files import ensure_folders, file_error, text_if_readable, write_file
from rocks.core.names import printable
from rocks.core.process import run
from rocks.core.version import rocks_version_attributes
from rocks.inventory.hosts import appliance_names
from rocks.library.xorriso import write_iso
from rocks.site.archive import backup_folder, site_answers, site_folder, write_site
from rocks.site.questions import MACHINE_ANSWERS, QUESTIONS, installation_problems, read_answer_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rocks.database.connection import Database

LABEL = "ROCKS_SITE"
"""The installer looks for it (roll/installer/initramfs/lib/medium.sh)."""

SAVED = "site.saved"
ABOUT = f"{SAVED}.about"
"""What the installer checks of the saved site before it opens a disk: lines NAME = VALUE."""

_INSTALLED_WITH = "installation/site/answers"
_OF_ONE_MACHINE = re.compile("install_(.*_mac|overwrite|keep|rolls|root_password.*|restore)")
_ROOTS_KEYS, _SHADOW = Path("/root/.ssh/authorized_keys"), Path("/etc/shadow")
_SECONDS = 60.0
_LOCK = "medium of the saved site"
_WORK = "medium-"
_BEGINNING_BYTES = 1 << 20


def save_medium(database: Database, passphrase: bytes, place: str) -> str:
    """Write the site to a device, or into a folder; returns what the operator must know of its answers, or ''.

    A folder gets `answers`, the saved site, `ABOUT` and the site's public keys; a device gets an ISO of them. UserError
    and StateError, and nothing is written, for a place that has other data or is in use, and for answers that the
    installer would refuse.
    """
    path = Path(place)
    with database.locked(_LOCK, _SECONDS):
        try:
            if path.is_block_device():
                return _fill_device(database, passphrase, path)
            if not path.is_dir():
                raise UserError(f"{printable(place)} is neither a device nor a folder: give one of the two")
            for name in ("answers", SAVED):
                if (path / name).exists() and not (path / ABOUT).exists():
                    raise UserError(
                        f"{path} has a file {name} that is not of such a medium: give another folder"
                    )
            return _fill(database, passphrase, path)
        except OSError as error:
            raise file_error(error) or error from None


def _fill_device(database: Database, passphrase: bytes, device: Path) -> str:
    """An ISO is written last, in one go: a medium that is too small keeps what it has."""
    _check_device(device)
    for left in backup_folder().glob(f"{_WORK}*"):  # of one that was killed
        shutil.rmtree(left)
    with _work_folder() as work:
        notice = _fill(database, passphrase, work / "medium")
        write_iso(work / "medium", work / "iso", LABEL, 0)
        with (work / "iso").open("rb") as made, device.open("r+b") as target:
            needed, size = (work / "iso").stat().st_size, target.seek(0, os.SEEK_END)
            if needed > size:
                raise UserError(
                    f"{device} has {size >> 20} MiB, and the medium needs {(needed >> 20) + 1}: give a larger one"
                )
            target.seek(0)
            shutil.copyfileobj(made, target, _BEGINNING_BYTES)
            os.fsync(target.fileno())
    return notice


@contextmanager
def _work_folder() -> Iterator[Path]:
    """A new folder that only root enters."""
    ensure_folders(backup_folder(), 0o700)
    with tempfile.TemporaryDirectory(prefix=_WORK, dir=backup_folder()) as name:
        (Path(name) / "medium").mkdir()
        yield Path(name)


def _check_device(device: Path) -> None:
    """StateError for a device that is in use, UserError for one with data, unless it is an earlier medium."""
    try:
        descriptor = os.open(device, os.O_RDWR | os.O_EXCL | os.O_CLOEXEC)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        raise StateError(
            f"{device} is in use: it is mounted, or part of an array, a pool or a volume group; give another device"
        ) from None
    with os.fdopen(descriptor, "rb") as opened:
        is_blank = not any(opened.read(_BEGINNING_BYTES))
    found = run(["blkid", "--probe", "--output", "export", str(device)], deadline_seconds=_SECONDS)
    if found.exit_status not in (0, 2, 8):  # 2: nothing was found; 8: several kinds contradict each other
        raise HostError(f"blkid cannot read {device}: {found.error_text.strip()}")
    tags = dict(line.split("=", 1) for line in found.text.splitlines() if "=" in line)
    if found.exit_status == 2 and is_blank:
        return
    if (tags.get("LABEL"), tags.get("TYPE")) != (LABEL, "iso9660"):
        kind = tags.get("TYPE") or tags.get("PTTYPE") or "of an unknown kind"
        raise UserError(
            f"{device} has data ({kind}) and stays as it is: give another device, or a folder; if the data is not "
            f"needed: wipefs --all {device}; dd if=/dev/zero of={device} bs=1M count=1"
        )


def _fill(database: Database, passphrase: bytes, folder: Path) -> str:
    frontend, answers = site_answers(database)
    machine, notice = _machine_answers(folder)
    answers = {**answers, **machine, "install_restore": SAVED}
    _check_installable(database, answers)
    saved = folder / SAVED
    write_site(database, passphrase, saved, replace=True)
    with saved.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    about = {"frontend": frontend, "version": rocks_version_attributes()["version"], "sha256": digest}
    # first what says whose folder it is: the same command takes it again after an interruption
    write_file(folder / ABOUT, _lines(about))
    keys = site_folder() / "keys"
    shutil.rmtree(folder / "keys", ignore_errors=True)  # keys that the site has withdrawn
    for key in sorted([*keys.glob("*.asc"), *keys.glob("*.gpg")]):
        (folder / "keys").mkdir(exist_ok=True)
        shutil.copyfile(key, folder / "keys" / key.name)
    write_file(folder / "answers", _lines(answers))
    return notice


def _check_installable(database: Database, answers: dict[str, str]) -> None:
    problems = installation_problems(answers)
    frontend = answers["Kickstart_PrivateHostname"]
    if frontend.lower() in map(str.lower, appliance_names(database)):
        problems.append(f"Kickstart_PrivateHostname: {frontend} is the name of an appliance")
    if problems:
        raise StateError(
            f"the installer would refuse the answers of this site: {'; '.join(problems)}. Nothing was written. "
            "To correct them: rocks set attr NAME VALUE; for the name of the frontend rocks set host name; for what "
            f"begins with install_ the line in the folder's file answers, or in {site_folder() / _INSTALLED_WITH}"
        )


def _lines(values: dict[str, str]) -> str:
    return "".join(f"{name} = {value}\n" for name, value in values.items())


def _machine_answers(folder: Path) -> tuple[dict[str, str], str]:
    """(answers for the installer of another machine, what the operator must know of them).

    They are those of the medium that is written again, or those that this machine was installed with.
    """
    known = [*MACHINE_ANSWERS, *(question.name for question in QUESTIONS)]
    text = text_if_readable(folder / "answers") or text_if_readable(site_folder() / _INSTALLED_WITH)
    given = read_answer_lines(text, known).answers
    found = {
        name: value
        for name, value in given.items()
        if name in MACHINE_ANSWERS and not _OF_ONE_MACHINE.fullmatch(name)
    }
    # names of disks are those of one machine; one with data stays as it is without install_overwrite
    found["install_disk"] = ", ".join("smallest" for _ in found.get("install_disk", "").split(","))
    if "install_root_key" in found:
        return found, ""
    hashes = (
        line.split(":")[1] for line in text_if_readable(_SHADOW).splitlines() if line.startswith("root:$")
    )
    if key := _root_key():
        return {**found, "install_root_key": key}, ""
    if digest := next(hashes, ""):
        notice = "answers has the hash of root's password, since root has no SSH key: nobody else may read the medium"
        return {**found, "install_root_password_hash": digest}, notice
    return found, "root has neither a key nor a password here: add install_root_key to answers"


def _root_key() -> str:
    """A line of root's authorized_keys, or ''; one without options before one that may be for some places alone."""
    found = []
    for line in text_if_readable(_ROOTS_KEYS).encode("ascii", "ignore").decode().splitlines():
        with suppress(UserError):
            MACHINE_ANSWERS["install_root_key"](line.strip())
            found.append(line.strip())
    return min(found, key=lambda line: not line.startswith(("ssh-", "ecdsa-", "sk-")), default="")
