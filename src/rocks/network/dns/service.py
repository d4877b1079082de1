"""The name service of a frontend: BIND's named for the networks that serve DNS, and the frontend's /etc/hosts.

Its folder exists where `rocks start service dns` was started once. `rocks sync dns` and `rocks sync config` write what
has changed, and let a running named read it again; so do commands that change names, when they are committed, where
the folder or our part of /etc/hosts exists.
"""

from __future__ import annotations

import os
import shutil
import signal
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rocks.core import dry_run
from rocks.core.errors import HostError, StateError
from rocks.core.files import PUBLIC, ensure_folders, remove_file, write_file
from rocks.core.process import replace_this_process
from rocks.fleet.host_files import FileChange
from rocks.inventory.host_files import sync_files
from rocks.network.dns.changes import BEGINS, HOSTS_FILE, has_name_service, hosts_file, name_folder
from rocks.network.dns.name_files import name_files, served_networks
from rocks.network.dns.name_records import load_site_names
from rocks.network.dns.name_server import check_configuration, check_zone_file, named_process
from rocks.network.dns.names import hosts_lines, is_same_zone, numbered_after
from rocks.network.network_records import load_networks, network_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from rocks.core.errors import RocksError
    from rocks.database.connection import Database
    from rocks.network.dns.names import SiteNames

USER = "bind"
LOCK = "name service"
LOCK_SECONDS = 30.0
_READABLE = 0o755
BEGIN = "# begin of rocks: written by rocks sync config; changes between these lines are lost"
END = "# end of rocks"


class SyncedNames(NamedTuple):
    """What `rocks sync dns` did: whether /etc/hosts changed; the files of named that changed, and those removed.

    `serves` is whether this machine has the name service, `runs` whether named runs.
    """

    hosts_file: bool
    files: tuple[str, ...]
    serves: bool
    runs: bool
    problems: tuple[str, ...]


def start_name_service(database: Database, notify: Callable[[str], None]) -> None:
    """Write all files of the service and become named; does not return.

    StateError when named is not installed, or this machine has no name on a network that serves DNS; HostError when a
    file cannot be written.
    """
    program = shutil.which("named", path="/usr/sbin:/sbin:/usr/bin")
    if program is None:
        raise StateError("named is not installed: apt-get install bind9")
    if not served_networks(load_networks(database, network_names(database))):
        raise StateError(
            "no network serves DNS, so there are no names to serve: rocks set network servedns private yes"
        )
    name_files(database)  # its errors come before a folder is made
    try:
        ensure_folders(name_folder() / "zones", _READABLE)
    except OSError as error:
        raise HostError(f"cannot make {name_folder()}/zones: {error.strerror}") from None
    with _locked(database):
        synced = _sync_service(database)
    for problem in synced.problems:
        notify(problem)
    database.close()
    # the program itself prints nothing here: its messages go to the system log
    notify("named runs here until Ctrl-C; in the background: systemctl start rocks-dns")
    replace_this_process([program, "-f", "-u", USER, "-c", str(name_folder() / "named.conf")])


def sync_names(database: Database) -> SyncedNames:
    """Write our part of this machine's /etc/hosts, and what has changed of named's files, which it then reads again.

    StateError for a hosts file whose marks are damaged, and for additions of the site that named would reject; then
    named's files stay as they are. HostError for a file that cannot be written. Two commands at once do it one after
    the other.
    """
    with _locked(database):
        synced = _sync_service(database) if has_name_service() else None
        names, _ = load_site_names(database)
        database.end_reading()
        changed = _write_hosts(names)
    return (
        synced._replace(hosts_file=changed)
        if synced
        else SyncedNames(changed, (), False, False, names.problems)
    )


@contextmanager
def _locked(database: Database) -> Iterator[None]:
    """One command after the other writes names, each with what is committed then."""
    database.end_reading()
    with database.locked(LOCK, LOCK_SECONDS):
        yield


def _sync_service(database: Database) -> SyncedNames:
    """Write what has changed of named's files, and let a running named read it; the hosts file is left alone."""
    files, problems = name_files(database)
    database.end_reading()
    written = _write_all(files)
    runs = _inform_named(bool(written))
    return SyncedNames(hosts_file=False, files=written, serves=True, runs=runs, problems=problems)


def sync_names_of_hosts(database: Database, hosts: Sequence[str]) -> Iterator[tuple[str, bool | RocksError]]:
    """Write our part of the hosts' /etc/hosts; yields (host, whether it changed, or the error)."""
    names, _ = load_site_names(database)
    lines = hosts_lines(names.addresses)
    path = str(HOSTS_FILE)

    def plan(host: str, found: Mapping[str, bytes]) -> list[FileChange]:
        old = found.get(path, b"")
        new = with_part(old.decode("utf-8", "surrogateescape"), lines, path).encode(
            "utf-8", "surrogateescape"
        )
        return [FileChange(path, new)] if new != old else []

    yield from sync_files(database, hosts, [path], plan)


def outdated_files(database: Database) -> list[str]:
    """The paths of the files that `sync_names` would change."""
    names, _ = load_site_names(database)
    old, new = _hosts_texts(names)
    found = [str(hosts_file())] if old != new else []
    if has_name_service():
        changed, obsolete = _differences(name_files(database).files)
        found += [str(path) for path in (*changed, *obsolete)]
    database.end_reading()
    return found


def _hosts_texts(names: SiteNames) -> tuple[str, str]:
    """The hosts file as it is, and as it should be."""
    path = hosts_file()
    try:
        old = path.read_bytes().decode("utf-8", "surrogateescape")  # lines may end in any way
    except FileNotFoundError:
        old = ""
    return old, with_part(old, hosts_lines(names.addresses), str(path))


def _write_hosts(names: SiteNames) -> bool:
    """Whether the hosts file changed."""
    old, new = _hosts_texts(names)
    if new != old:
        write_file(hosts_file().resolve(), new.encode("utf-8", "surrogateescape"), mode=PUBLIC)
    return new != old


def _differences(files: dict[Path, str]) -> tuple[dict[Path, str], list[Path]]:
    """The files that are missing or have another text, with the new one; and the zones that are no longer served."""
    renewed = {path: _renewed(path, text) for path, text in files.items()}
    changed = {path: text for path, text in renewed.items() if text is not None}
    present = (name_folder() / "zones").iterdir()
    return changed, [path for path in present if path not in files and not path.name.startswith(".")]


def _write_all(files: dict[Path, str]) -> tuple[str, ...]:
    """Write what has changed, zones before the configuration that names them; returns the names of changed files."""
    configuration = next(iter(files))
    changed, obsolete = _differences(files)
    for path, text in changed.items():
        if path != configuration and "$INCLUDE" in text:
            check_zone_file(path.name, text)
    if configuration in changed:
        check_configuration(changed[configuration])
    if changed or obsolete:
        write_file(_unread(), "", mode=PUBLIC)
    for path in [*(one for one in changed if one != configuration), configuration]:
        if path in changed:
            write_file(path, changed[path], mode=PUBLIC)
    for path in obsolete:
        remove_file(path)
    return tuple(str(path) for path in (*changed, *obsolete))


def _inform_named(has_written: bool) -> bool:
    """Let the running named read what was written since it was last informed; whether it runs."""
    process = named_process(name_folder() / "named.conf")
    if has_written or _unread().exists():
        if process is not None and not dry_run.would(dry_run.HERE, "have named read its zones again"):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGHUP)
        remove_file(_unread())
    return process is not None


def _unread() -> Path:
    """A file that exists from before the first change until named is informed: a killed command leaves it."""
    return name_folder() / "unread"


def _renewed(path: Path, text: str) -> str | None:
    """The text to be written; None when the file has it already. The serial number of a zone only grows."""
    try:
        old = path.read_text("utf-8")
    except (FileNotFoundError, UnicodeDecodeError):
        return text
    return None if is_same_zone(old, text) else numbered_after(old, text)


def with_part(old: str, part: str, path: str) -> str:
    """The text of a file that others write as well, with `part`, whole lines, as our part; the rest stays as it is.

    A new part comes at the end; an empty one is removed with its marks. StateError when the marks in the file are not
    one of each, in their order. `path` is the file's, for the message.
    """
    lines = old.splitlines(keepends=True)
    begins = [place for place, line in enumerate(lines) if line.startswith(BEGINS)]
    ends = [place for place, line in enumerate(lines) if line.rstrip("\n") == END]
    if len(begins) > 1 or len(ends) != len(begins) or (begins and ends[0] < begins[0]):
        raise StateError(
            f'{path} does not have one line "{BEGINS} …" and one line "{END}" after it: remove these lines and what '
            "is between them, then: rocks sync config"
        )
    ours = [f"{BEGIN}\n", part, f"{END}\n"] if part else []
    if begins:
        return "".join([*lines[: begins[0]], *ours, *lines[ends[0] + 1 :]])
    gap = "\n" if ours and old and not old.endswith("\n") else ""
    return "".join([old, gap, *ours])
