"""A saved site takes the place of what this machine has: the database in one transaction, then the site's files.

A note beside the record of the leases exists from the first change to the last: where it is found, the restore was
interrupted, and the same command finishes it. The record of the leases is removed before the database changes, so that
no virtual machine starts before all hosts were asked what runs there (decision 31).
"""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.clock import utc_now
from rocks.core.errors import HostError, RocksError, StateError, UserError
from rocks.core.files import draft, ensure_folders, file_error, sync_folder, write_file
from rocks.core.names import first_few, printable
from rocks.core.terminal import one_line
from rocks.database.backup import copy_database, has_schema, load_copy
from rocks.database.connection import Database
from rocks.database.driver import run_once
from rocks.database.locks import own_folder
from rocks.database.migrate import bring_up_to_date, read_version
from rocks.database.versions import newest_version
from rocks.leases import lease as leases
from rocks.leases.lease import count_restore, forget_record
from rocks.site import archive
from rocks.site.archive import backup_folder, read_files, read_site, site_folder
from rocks.site.creation import update_database
from rocks.storage.broker.broker import BROKER_NAME
from rocks.trust.audit import copy_entries
from rocks.trust.authority import still_revoked
from rocks.trust.encrypted_file import CHUNK_BYTES, Decryption, open_encrypted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import BinaryIO

    from rocks.database.settings import Settings
    from rocks.site.archive import SavedFile, SavedSite


LOCK = "restore site"
LOCK_SECONDS = 5.0
_NOTE = "restore-unfinished"
_AUTHORITY = "pki/authority/"


def unfinished_restore(settings: Settings) -> str:
    """What an interrupted restore was of; '' without one."""
    try:
        return _note(settings).read_text("utf-8", "replace").strip()[:200]
    except OSError:
        return ""


def read_saved_site(file: str, passphrase: bytes) -> SavedSite:
    """The site in a file, checked as a whole. UserError, which names the file, for one that cannot be restored."""
    try:
        with open_encrypted(Path(file)) as opened:
            return read_site(Decryption(opened, passphrase))
    except UserError as error:
        raise UserError(f"{printable(file)} is not restored: {error}") from None


def restore_site(
    database: Database, saved: SavedSite, file: str, overwrite: bool, notify: Callable[[str], None]
) -> None:
    """Restore a site. StateError on a machine that is a frontend already, unless it may be overwritten.

    What is overwritten is copied before: the database and the files of the site, below the folder of backups.
    """
    settings = database.settings
    with Database(settings) as other:  # its changes are not those of this command's entry in the audit log
        current = read_version(settings) == newest_version()
        update_database(other, (lambda line: None) if current else notify)
        other.commit()
    database.lock(LOCK, LOCK_SECONDS)
    has_site = bool(database.rows("SELECT 1 FROM nodes LIMIT 1"))
    database.rollback()  # no entry before the saved log is here
    begun = one_line(f"the restore of {saved.frontend}, saved {saved.saved_at},")
    again = unfinished_restore(settings).startswith(begun)
    if has_site and not overwrite and not again:
        raise StateError(
            "this machine is the frontend of a site already: overwrite=yes replaces that one, of which a copy is kept"
        )
    loaded, preserved = _exchange(database, saved, f"{begun} from {one_line(file)}\n", has_site, notify)
    try:
        _report_rest(saved, loaded, preserved, notify)
        unknown, removed = write_site_files(site_folder(), _with_revocations(saved, notify))
    except OSError as error:
        raise file_error(error) or error from None
    others = [path for path in removed if not path.startswith(_AUTHORITY)]
    if others:
        notify(f"removed from {site_folder()}, since the saved site does not have it: {first_few(others)}")
    for path, owner in unknown:
        notify(
            f"{path} belonged to {owner}, which this machine lacks: when it has both, chown {owner} {path}"
        )
    _note(settings).unlink(missing_ok=True)
    sync_folder(_note(settings).parent)


def _exchange(
    database: Database, saved: SavedSite, note: str, has_site: bool, notify: Callable[[str], None]
) -> tuple[Loaded, tuple[str, ...]]:
    """Replace the rows, and commit: (what was loaded, the tables whose present rows stay).

    Before the commit an error leaves nothing that a later restore would take for a begun one.
    """
    settings, folder = database.settings, backup_folder()
    try:
        loaded = load_beside(settings, saved.sql, folder, notify)
        if has_site:  # also of what an interrupted restore has left: changes may have followed
            _keep_present(settings, folder, notify)
        own_folder(settings.state_folder)
        with _noted(_note(settings), note):
            forget_record(database)
            preserved = exchange_rows(database, loaded)
        database.commit()
    finally:
        database.rollback()
        drop_beside(settings)
    return loaded, preserved


@contextmanager
def _noted(place: Path, note: str) -> Iterator[None]:
    """Write the note into its place for the block; an error puts back what was there."""
    earlier = place.read_bytes() if place.exists() else None
    write_file(place, note)
    try:
        yield
    except BaseException:
        if earlier is None:
            place.unlink(missing_ok=True)
        else:
            write_file(place, earlier)
        raise


def _report_rest(
    saved: SavedSite, loaded: Loaded, preserved: Sequence[str], notify: Callable[[str], None]
) -> None:
    """Write Nucleus's records beside the backups, and report what of the saved site was not restored."""
    if saved.nucleus_sql is not None:
        folder = backup_folder()
        nucleus = folder / f"nucleus-{utc_now():%Y%m%dT%H%M%S}.sql"
        ensure_folders(folder, 0o700)
        with draft(nucleus) as new:
            saved.nucleus_sql.seek(0)
            while part := saved.nucleus_sql.read(CHUNK_BYTES):
                new.write(part)
        notify(
            f"the records of Nucleus are in {nucleus}; to load them: the guide's page Nucleus, Backup and restore"
        )
    if preserved:
        notify(
            f"not restored: the audit log of {saved.frontend}; that of this machine goes on ({', '.join(preserved)})"
        )
    if loaded.unknown:
        notify(
            f"not restored: the tables {', '.join(loaded.unknown)} of rolls that are not here; when they are: repeat"
        )


def _with_revocations(saved: SavedSite, notify: Callable[[str], None]) -> list[SavedFile]:
    """The saved files, in which a certificate that is revoked here stays so; reports what is not as it was."""
    inside = [one for one in saved.files if one.path.startswith(_AUTHORITY) and one.content]
    authority = {one.path.removeprefix(_AUTHORITY): one.content or b"" for one in inside}
    again = "rocks add host certificate HOST replace=yes, rocks sync host certificate HOST"
    remaining, nodes = still_revoked(authority, site_folder() / _AUTHORITY) or (authority, set())
    if remaining is authority and "ca.crt" in authority:
        notify(f"certificates revoked after {saved.saved_at} are valid again; for each such host: {again}")
    hosts = ", ".join(sorted(nodes - {BROKER_NAME}))
    if hosts:
        notify(
            f"revoked, as before or issued after the copy: certificates of {hosts}; for a host that needs one: {again}"
        )
    # the list is before the certificates: a restore that is interrupted in between finds it
    written = [
        one._replace(content=remaining[path])
        for path, one in zip(authority, inside, strict=True)
        if path in remaining
    ]
    return [*(one for one in saved.files if one not in inside), *written]


def write_site_files(folder: Path, files: Sequence[SavedFile]) -> tuple[list[tuple[Path, str]], list[str]]:
    """Make the folder's content what the files are; what is not the site's stays. OSError and HostError.

    Returns (path, user:group) of those whose user or group this machine does not have, and the files that it removed.
    """
    return _write_files(folder, files), _remove_others(folder, {one.path for one in files})


def _write_files(folder: Path, files: Sequence[SavedFile]) -> list[tuple[Path, str]]:
    ensure_folders(folder, 0o755)
    for one in files:
        if one.content is None:
            place = folder / one.path
            if place.is_symlink() or (place.exists() and not place.is_dir()):
                place.unlink()
            ensure_folders(place, one.mode)
            place.chmod(one.mode)
    for one in files:
        if one.content is not None:
            write_file(folder / one.path, one.content, mode=one.mode)
    return [
        (folder / one.path, f"{one.user}:{one.group}") for one in files if not _give(folder / one.path, one)
    ]


def _give(place: Path, one: SavedFile) -> bool:
    """Give a file or folder its user and group, by name: services read some as themselves. Whether both are here."""
    if one.user:
        try:
            shutil.chown(place, one.user, one.group)
        except LookupError:
            return False
    return True


def _remove_others(folder: Path, saved_paths: set[str]) -> list[str]:
    """Remove regular files that the saved site does not have, such as certificates of another authority."""
    removed = [
        one.path for one in read_files(folder) if one.content is not None and one.path not in saved_paths
    ]
    for path in removed:
        (folder / path).unlink()
    return removed


def _keep_present(settings: Settings, folder: Path, notify: Callable[[str], None]) -> None:
    """Copy the present site's database and files beside each other, in a folder that only root enters."""
    name = f"before-restore-{utc_now():%Y%m%dT%H%M%S}"
    others = len(list(folder.glob(f"{name}*")))  # of the same second
    preserved = folder / (f"{name}-{others + 1}" if others else name)
    ensure_folders(folder, 0o700)
    preserved.mkdir(mode=0o700)
    try:
        copy_database(settings, preserved, "cluster.sql")
        nucleus = settings._replace(database=archive.NUCLEUS)
        if has_schema(nucleus):
            copy_database(nucleus, preserved, "nucleus.sql")
        if site_folder().is_dir():
            _write_files(preserved / "files", list(read_files(site_folder())))
    except (OSError, RocksError) as error:
        shutil.rmtree(preserved, ignore_errors=True)
        if isinstance(error, RocksError):
            raise
        raise HostError(f"cannot copy the site that is here: {error.strerror}; nothing was changed") from None
    notify(f"the site that was here is kept in {preserved}: its files, and its database in cluster.sql")


def _note(settings: Settings) -> Path:
    return Path(settings.state_folder) / f"{_NOTE}-{settings.database}"


# Puts the content of a copy in the place of the database's, in one transaction.
#
# The copy is loaded into a database beside it and migrated there. Then both have the same tables, and the rows are
# exchanged by one transaction, which leaves the old content or the new at every moment. Leases with what they have
# of their hosts, fences and accepted requests of owners are never deleted: those that are there stay, and those of
# the copy are added. An audit log that has begun stays, too.


_ADDED = ("vm_leases", "vm_lease_disks", "vm_fences", *leases.PARTS, "airboss_nonces", "airboss_past_hours")
_LOG = ("sec_audit", "sec_audit_head")
"""A chain of entries that are never removed: that of the copy is taken where there is none yet."""
_UNTOUCHED = ("schema_migrations",)


class Loaded(NamedTuple):
    """A copy in a database of its own, with the schema of these programs, and tables of it that there are not here."""

    name: str
    tables: tuple[str, ...]
    unknown: tuple[str, ...]


def load_beside(settings: Settings, sql: BinaryIO, folder: Path, report: Callable[[str], None]) -> Loaded:
    """Load a copy, a file with SQL, beside the database. StateError for a schema newer than these programs'."""
    beside = settings._replace(database=f"{settings.database}_restored")
    load_copy(beside, sql)
    found = read_version(beside)
    if found > newest_version():
        raise StateError(
            f"the saved site has a database of version {found}, these programs know {newest_version()}: install newer "
            "programs on this machine"
        )
    if found < newest_version():
        bring_up_to_date(beside, folder, report=report)
    present, copied = _tables(settings, settings.database), _tables(settings, beside.database)
    both = tuple(table for table in copied if table in present and table not in _UNTOUCHED)
    return Loaded(beside.database, both, tuple(table for table in copied if table not in present))


def exchange_rows(database: Database, loaded: Loaded) -> tuple[str, ...]:
    """Give the tables the rows of the copy, in the caller's transaction; returns those that keep their own."""
    preserved = _LOG if database.rows("SELECT 1 FROM sec_audit LIMIT 1") else ()
    database.execute("SET SESSION foreign_key_checks = 0")
    for table in loaded.tables:
        if table in preserved:
            continue
        if table == "sec_audit":
            with Database(database.settings._replace(database=loaded.name)) as copy:
                copy_entries(database, copy)
            continue
        columns = ", ".join(f"`{name}`" for name in _columns(database, table, table not in _ADDED))
        insert = "INSERT IGNORE" if table in _ADDED else "INSERT"
        if table not in _ADDED:
            database.execute(f"DELETE FROM `{table}`")
        database.execute(
            f"{insert} INTO `{table}` ({columns}) SELECT {columns} FROM `{loaded.name}`.`{table}`"
        )
    leases.free_released_parts(database)
    count_restore(database)
    database.execute("SET SESSION foreign_key_checks = 1")
    return preserved


def drop_beside(settings: Settings) -> None:
    """Remove the database of a copy, also one that a killed restore has left."""
    run_once(settings, f"DROP DATABASE IF EXISTS {settings.database}_restored")


def _tables(settings: Settings, name: str) -> list[str]:
    rows = run_once(
        settings,
        "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_TYPE = 'BASE TABLE'"
        " ORDER BY 1",
        (name,),
    )
    return [str(row[0]) for row in rows]


def _columns(database: Database, table: str, with_row_numbers: bool) -> list[str]:
    """The columns that are stored, not computed.

    Rows that are added get new numbers: those of the copy may be in use here, by rows of something else.
    """
    return [
        str(name)
        for (name,) in database.rows(
            "SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = %s"
            " AND COALESCE(GENERATION_EXPRESSION, '') = '' AND (%s OR EXTRA <> 'auto_increment')"
            " ORDER BY ORDINAL_POSITION",
            (table, with_row_numbers),
        )
    ]
