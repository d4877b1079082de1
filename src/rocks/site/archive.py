"""The content of a saved site: a copy of the database, the files of the site, and a list of both."""

from __future__ import annotations

import contextlib
import grp
import hashlib
import io
import json
import os
import pwd
import shutil
import stat
import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, BinaryIO, NamedTuple, cast

from rocks.core.clock import utc_now
from rocks.core.errors import HostError, StateError, UserError
from rocks.core.files import draft, ensure_folders, explain, file_error, unnamed_file
from rocks.core.names import printable
from rocks.core.version import rocks_version_attributes
from rocks.database.backup import BACKUP_FOLDER, has_schema, unnamed_copy
from rocks.database.versions import newest_version
from rocks.inventory.attributes.records import global_attributes
from rocks.inventory.host_records import find_local_host
from rocks.network.interfaces import list_interfaces
from rocks.network.networks import load_networks
from rocks.site.questions import PRIVATE, PUBLIC, PUBLIC_NAMES, QUESTIONS
from rocks.trust.encrypted_file import CHUNK_BYTES, Encryption

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from rocks.database.connection import Database
    from rocks.database.settings import Settings
    from rocks.trust.encrypted_file import Decryption

SITE_FOLDER = Path("/etc/rocks")
NOT_OF_THE_SITE = ("database.conf", "installation", "trees.d", "mariadb.cnf")
"""In that folder: how this machine reaches its database, what its installation left, folders of its rolls, and the
settings of its database server, whose sizes are those of its memory."""

NUCLEUS = "nucleus"
"""The schema of Nucleus on the site's server: its owners, tokens, operations and log."""

_DATABASE = "cluster.sql"
_NUCLEUS = "nucleus.sql"
_ANSWERS = "answers"
_LIST = "list.json"
_FILES = PurePosixPath("files")
_DRAFT = "saved-site"
_LOCK, _LOCK_SECONDS = "save site", 60.0


class SavedFile(NamedTuple):
    """A file or a folder (content None) below the site's folder, with its mode, and the names of user and group.

    A name is '' in a site that earlier programs have saved.
    """

    path: str
    mode: int
    content: bytes | None
    user: str = ""
    group: str = ""


class _Copy(NamedTuple):
    """The copy of a database: SQL in a file without a name."""

    path: str
    file: BinaryIO


class SavedSite(NamedTuple):
    """A saved site: who saved it when, its answers, the copy of its database, its files.

    `nucleus_sql` is the copy of Nucleus's schema; None where the site had none. Both copies are files without a name.
    """

    frontend: str
    saved_at: str
    answers: str
    sql: BinaryIO
    files: tuple[SavedFile, ...]
    nucleus_sql: BinaryIO | None = None


def site_folder() -> Path:
    """The folder of the site's files; the environment variable ROCKS_SITE_FOLDER overrides the default."""
    return Path(os.environ.get("ROCKS_SITE_FOLDER") or SITE_FOLDER)


def backup_folder() -> Path:
    """The folder of copies; the environment variable ROCKS_BACKUP_FOLDER overrides the default."""
    return Path(os.environ.get("ROCKS_BACKUP_FOLDER") or BACKUP_FOLDER)


def save_site(database: Database, passphrase: bytes, file: str | None) -> Path:
    """Write the site into a new encrypted file; returns its path. UserError when the file exists.

    StateError on a machine that is no frontend, HostError for files that cannot be read or written, BusyError while
    another command saves the site.
    """
    name = find_local_host(database)
    path = Path(file) if file else backup_folder() / f"site-{name}-{utc_now():%Y%m%dT%H%M%S}"
    if os.path.lexists(path):
        raise UserError(f"{path} exists; give another file")
    if not file:
        with _explained(path):
            ensure_folders(backup_folder(), 0o700)
    write_site(database, passphrase, path, replace=False)
    return path


def write_site(database: Database, passphrase: bytes, path: Path, *, replace: bool) -> None:
    """Write the site into an encrypted file. UserError when it exists and may not be replaced; else as `save_site`."""
    # one at a time: each needs space for a whole copy of the database
    with (
        database.locked(_LOCK, _LOCK_SECONDS),
        _explained(path),
        # a killed command leaves its draft, which the next one removes
        draft(path, replace=replace, beside=path.with_name(_DRAFT)) as new,
    ):
        encryption = Encryption(new.write, passphrase)
        collect_site(database, utc_now(), encryption)
        encryption.finish()


def write_new_file(path: Path, content: str | bytes) -> None:
    """Write a file that only its owner reads. UserError when there is one, HostError when it cannot be written."""
    with _explained(path), draft(path, replace=False) as new:
        new.write(content)


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError as error:
        if error.filename2 is None:  # not of the link that gives the file its name, but of a folder
            raise file_error(error) or error from None
        raise UserError(f"{path} exists; give another file") from None
    except (OSError, ValueError) as error:
        reason = explain(error, path) if isinstance(error, OSError) else error
        raise HostError(f"cannot write {printable(str(path))}: {reason}") from None


def unsaved_links() -> list[Path]:
    """The links of the site's folder: what they lead to is not saved."""
    folder = site_folder()
    found = (place for place in sorted(folder.rglob("*")) if place.is_symlink())
    return [place for place in found if place.relative_to(folder).parts[0] not in NOT_OF_THE_SITE]


def collect_site(database: Database, now: datetime, into: Encryption) -> None:
    """Write the whole site as an archive, in parts, so that its size is bounded by the disk alone.

    StateError on a machine that is no frontend, HostError for unreadable files.
    """
    frontend, found = site_answers(database)
    answers = "".join(f"{name} = {value}\n" for name, value in found.items())
    database.end_reading()
    listed = {
        "frontend": frontend,
        "saved": now.isoformat(timespec="seconds"),
        "schema": newest_version(),
        "programs": rocks_version_attributes().get("version", ""),
    }
    with tarfile.open(fileobj=cast("BinaryIO", into), mode="w|gz", format=tarfile.PAX_FORMAT) as archive:
        digests = dict(_packed(archive, _members(database, answers)))
        content = json.dumps({**listed, "sha256": digests}).encode()
        dict(_packed(archive, [SavedFile(_LIST, 0o600, content)]))


def _members(database: Database, answers: str) -> Iterator[SavedFile | _Copy]:
    """What is saved, one after the other: the content of one is in memory, or in a file without a name, at a time."""
    nucleus = database.settings._replace(database=NUCLEUS)
    yield from _copied(_DATABASE, database.settings)
    yield SavedFile(_ANSWERS, 0o600, answers.encode())
    if has_schema(nucleus):
        yield from _copied(_NUCLEUS, nucleus)
    for one in read_files(site_folder()):
        yield one._replace(path=str(_FILES / one.path))


def _copied(path: str, settings: Settings) -> Iterator[_Copy]:
    with unnamed_copy(settings, backup_folder()) as copy:
        yield _Copy(path, copy)


def site_answers(database: Database) -> tuple[str, dict[str, str]]:
    """(frontend, answers of the site); of one that was not made by `create site`, as its records have them.

    Those about the public network are left out where the frontend is not on it. StateError on a machine that is no
    frontend.
    """
    frontend = find_local_host(database)
    if frontend is None:
        raise StateError(
            "the database does not have this machine, so there is no site to save: rocks create site makes one; "
            "if this machine was renamed, rocks list host shows its name in the database"
        )
    attributes = global_attributes(database)
    found = {question.name: attributes.get(question.name, "") for question in QUESTIONS}
    found["Kickstart_PrivateHostname"] = frontend
    rows = list_interfaces(database, [frontend])
    for network in load_networks(database, [PRIVATE, PUBLIC]):
        names = [
            f"Kickstart_{network.name.capitalize()}{what}" for what in ("Interface", "Address", "Netmask")
        ]
        on_it = [row for row in rows if row[1] == network.name and row[2] and row[4]]
        if on_it and not all(found[name] for name in names):
            _, _, device, _, address, netmask, *_ = on_it[0]
            found.update(zip(names, map(str, (device, address, netmask)), strict=True))
            zone = f"Kickstart_{network.name.capitalize()}DNSDomain"
            found[zone] = found[zone] or network.dns_zone
    if not found[PUBLIC_NAMES[0]]:
        found.update(dict.fromkeys(PUBLIC_NAMES, ""))
    return frontend, {name: value for name, value in found.items() if value}


def read_site(data: Decryption) -> SavedSite:
    """The site in an archive. UserError when it is not whole, was saved by newer programs, or has foreign members.

    HostError when there is no space for the copies of databases.
    """
    members, copies, digests_found = _unpack(data)
    try:
        listed = json.loads((members.pop(_LIST).content or b"").decode())
        frontend, saved_at, schema = str(listed["frontend"]), str(listed["saved"]), int(listed["schema"])
        digests = {str(path): str(digest) for path, digest in listed["sha256"].items()}
    except (ArithmeticError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UserError("the saved site has no list of its content; use another copy") from None
    if schema > newest_version():
        raise UserError(
            f"newer programs saved this site (database version {schema}, known is {newest_version()}): install those"
        )
    digests_found.pop(_LIST, None)
    if digests_found != digests or _DATABASE not in copies or _ANSWERS not in members:
        raise UserError("the saved site is not what its list says; use another copy")
    answers = members.pop(_ANSWERS).content or b""
    members.pop("files/mariadb.cnf", None)  # of earlier programs
    files = tuple(one._replace(path=_inside(one.path)) for one in members.values())
    text = answers.decode("utf-8", "replace")
    return SavedSite(frontend, saved_at, text, copies[_DATABASE], files, copies.get(_NUCLEUS))


def _inside(path: str) -> str:
    """The path below the site's folder. UserError for one that leads elsewhere, or that is not the site's."""
    place = PurePosixPath(path)
    parts = place.parts[1:]
    if place.parts[:1] != (str(_FILES),) or not parts or ".." in parts or parts[0] in NOT_OF_THE_SITE:
        raise UserError(f"the saved site has the foreign member {path!r}; use another copy")
    return str(PurePosixPath(*parts))


def read_files(folder: Path) -> Iterator[SavedFile]:
    """The site's regular files and folders below its folder; sockets and links are no content of a site."""
    try:
        for top, folders, names in os.walk(folder, onerror=_raise):
            place = Path(top)
            if place == folder:
                folders[:] = [name for name in folders if name not in NOT_OF_THE_SITE]
                names = [name for name in names if name not in NOT_OF_THE_SITE]
            folders[:] = sorted(name for name in folders if not (place / name).is_symlink())
            for name in folders:
                yield _saved(place / name, folder, (place / name).lstat(), None)
            for name in sorted(names):
                found = (place / name).lstat()
                if stat.S_ISREG(found.st_mode) and ".unfinished-" not in name:
                    yield _saved(place / name, folder, found, (place / name).read_bytes())
    except OSError as error:
        raise file_error(error) or error from None


def _saved(path: Path, folder: Path, found: os.stat_result, content: bytes | None) -> SavedFile:
    user = group = ""
    with contextlib.suppress(KeyError):  # a number without a name: it is somebody else's on another machine
        user, group = pwd.getpwuid(found.st_uid).pw_name, grp.getgrgid(found.st_gid).gr_name
    return SavedFile(str(path.relative_to(folder)), stat.S_IMODE(found.st_mode), content, user, group)


def _raise(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _packed(archive: tarfile.TarFile, members: Iterable[SavedFile | _Copy]) -> Iterator[tuple[str, str]]:
    """Add the members; the path and the digest of each that has content."""
    for one in members:
        entry = tarfile.TarInfo(one.path)
        if isinstance(one, _Copy):
            entry.mode, content = 0o600, one.file
        else:
            entry.mode, entry.uname, entry.gname = one.mode, one.user, one.group
            entry.type = tarfile.DIRTYPE if one.content is None else tarfile.REGTYPE
            content = io.BytesIO(one.content or b"")
        digest = _digest(content)
        entry.size = content.seek(0, os.SEEK_END)
        content.seek(0)
        archive.addfile(entry, content)
        if entry.isreg():
            yield one.path, digest


def _unpack(data: Decryption) -> tuple[dict[str, SavedFile], dict[str, BinaryIO], dict[str, str]]:
    """(files, copies of databases, digests of both) of the archive. UserError and HostError as of `read_site`."""
    files: dict[str, SavedFile] = {}
    copies: dict[str, BinaryIO] = {}
    digests: dict[str, str] = {}
    try:
        with tarfile.open(fileobj=cast("BinaryIO", data), mode="r|gz") as archive:
            for entry in archive:
                name, mode = entry.name, entry.mode & 0o777
                content = archive.extractfile(entry) if entry.isreg() else None
                if content is None and not entry.isdir():
                    raise UserError(f"the saved site has the foreign member {name!r}; use another copy")
                if content is not None and name in (_DATABASE, _NUCLEUS):
                    copies[name] = _stored(content)
                    digests[name] = _digest(copies[name])
                    continue
                found = content.read() if content is not None else None
                files[name] = SavedFile(name, mode, found, entry.uname, entry.gname)
                if found is not None:
                    digests[name] = hashlib.sha256(found).hexdigest()
        while data.read(CHUNK_BYTES):  # behind the archive: only at its end the file is known to be whole
            pass
    except (tarfile.TarError, zlib.error, EOFError, OSError, ValueError) as error:
        raise UserError(f"the saved site cannot be unpacked: {error}; use another copy") from None
    return files, copies, digests


def _stored(content: IO[bytes]) -> BinaryIO:
    """The copy of a database as a file without a name."""
    try:
        copy = unnamed_file(backup_folder())
        shutil.copyfileobj(content, copy)
        copy.flush()
    except OSError as error:
        reason = explain(error, backup_folder() / _DRAFT)
        raise HostError(f"cannot unpack the database of the saved site: {reason}") from None
    return copy


def _digest(file: BinaryIO) -> str:
    """SHA-256 of the whole file, which is left at its end."""
    found = hashlib.sha256()
    file.seek(0)
    while part := file.read(CHUNK_BYTES):
        found.update(part)
    return found.hexdigest()
