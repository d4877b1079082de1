"""Secret attributes: read from the operator, written to hosts, and the record of hosts that have theirs."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rocks.core.errors import HostError, StateError, UserError
from rocks.core.files import open_plain, remove_file
from rocks.core.names import printable
from rocks.fleet.host_files import FileChange
from rocks.inventory.attributes import secret_records as secrets
from rocks.inventory.attributes.known import KNOWN
from rocks.inventory.attributes.rules import VALUE_LONGEST_BYTES, check_name, check_value
from rocks.inventory.attributes.secret_records import read_global, read_of_hosts
from rocks.inventory.host_requests import sync_files

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rocks.core.errors import RocksError
    from rocks.database.connection import Database
    from rocks.database.settings import Settings


def read_secret(file: str) -> str:
    """The value, without its line end: from the file, or else from standard input, where a person types it unseen.

    UserError for a file that is not a regular one, that others than its owner may read, or that is empty; for a value
    that is not UTF-8, and for one that nobody types.
    """
    if file:
        value = _decoded(read_own_file(file, VALUE_LONGEST_BYTES + 2), printable(file))
    elif sys.stdin.isatty():
        try:
            value = getpass.getpass("value: ", sys.stderr)
        except EOFError:
            raise UserError("the input ended; nothing was stored") from None
    else:
        value = _decoded(sys.stdin.buffer.read(VALUE_LONGEST_BYTES + 2), "the value")
    value = value.removesuffix("\n")
    if not value:
        raise UserError("the value is empty; give it on standard input or in file=PATH")
    check_value(value)
    return value


def set_secret(database: Database, hosts: Sequence[str] | None, name: str, value: str) -> None:
    """Store the attribute of the hosts, or the global one (None). UserError for an invalid name."""
    check_name(name)
    secrets.store(database, hosts, name, value)


def read_own_file(path: str, longest_bytes: int) -> bytes:
    """The beginning of a file that its owner alone can read. UserError for another one, and for what is no file."""
    try:
        with open_plain(path) as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise UserError(
                    f"others may read {printable(path)}: chmod 600 {printable(path)}, then repeat"
                )
            return file.read(longest_bytes)
    except OSError as error:
        raise UserError(f"cannot read {printable(path)}: {error.strerror}") from None


def _decoded(data: bytes, source: str) -> str:
    is_cut = len(data) > VALUE_LONGEST_BYTES + 1  # maybe within a character; `check_value` refuses it
    try:
        return data.decode("utf-8", "replace" if is_cut else "strict")
    except UnicodeDecodeError:
        raise UserError(f"{source} is not UTF-8 text") from None


# Secret attributes on hosts: `rocks sync host sec_attr` writes a file for each, which only root can read.


FOLDER = "/etc/rocks/sec_attr"
"""On a host: root's own folder; a file is named like its attribute, and has its value and no line end."""

HOOKS = "/etc/rocks/sec_attr.d"
"""On a host: programs, named like attributes, that `rocks run host sec_attr` starts with the value as their input."""

_SECRET = 0o600

# without an argument or a value in it: each program gets its own value on standard input
RUN_HOOKS = f"""\
status=0
for file in {FOLDER}/*; do
  program={HOOKS}/${{file##*/}}
  [ -f "$file" ] && [ -x "$program" ] || continue
  if [ "$(stat -c %u -- "$program")" != 0 ]; then
    echo "$program is not root's, and was not started: chown root: $program" >&2
    status=1
    continue
  fi
  "$program" <"$file" || {{ echo "$program ended with exit status $?" >&2; status=1; }}
done
exit $status
"""


def sync_secrets(database: Database, names: Sequence[str]) -> Iterator[tuple[str, bool | RocksError]]:
    """Have the secret attributes of each host there, and no others; yields (host, whether it changed, or the error).

    A host has its own and the global ones, of which its own count. Those that the frontend itself uses, such as the
    command that fences a host, are in no file.
    """
    values = _values(database, names)

    def plan(host: str, found: Mapping[str, bytes]) -> list[FileChange]:
        expected = {f"{FOLDER}/{name}": value.encode() for name, value in values[host.lower()].items()}
        gone = [FileChange(path, None) for path in found if path not in expected]
        return gone + [
            FileChange(path, value, _SECRET) for path, value in expected.items() if found.get(path) != value
        ]

    yield from sync_files(database, names, [FOLDER], plan, with_this_machine=True)


def _values(database: Database, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Host, in lower case → attribute → value."""
    common = {name: value for _, name, value, _ in read_global(database) if is_for_hosts(name)}
    found = {name.lower(): dict(common) for name in names}
    for host, name, value, _ in read_of_hosts(database, names):
        if is_for_hosts(name):
            of_host = found[host.lower()]
            for other in [one for one in of_host if one.lower() == name.lower()]:
                del of_host[other]
            of_host[name] = value
    return found


def is_for_hosts(name: str) -> bool:
    """Whether an attribute is for the hosts, and its name can be that of a file."""
    known = KNOWN.get(name.lower())
    return not (known and known.is_secret) and "/" not in name and name not in ("", ".", "..")


# Records of hosts that got their secrets for an installation: files below the state folder of the frontend.


_FOLDER, _SENT = "handed-out", "sent-secrets"
TO_SYNC = "to-sync"
"""Folder of the state with a file for each configured host whose accounts and secrets are still to be sent."""


def record_handed_out(settings: Settings, name: str) -> None:
    """Record that the host gets its secrets now. StateError when that is recorded already; of two at once, one gets it.

    HostError when the record cannot be written.
    """
    if not _record(settings, _FOLDER, name):
        raise StateError(
            f"the secrets of host {name} were handed out before; on the frontend: "
            f"rocks set host boot {name} action=install"
        )


def begin_sending(settings: Settings, name: str) -> bool:
    """False when the host's secrets were sent since its installation began. Otherwise records them as handed
    out, and returns True.

    HostError when that record cannot be written.
    """
    if (Path(settings.state_folder) / _SENT / name.lower()).exists():
        return False
    _record(settings, _FOLDER, name)
    return True


def record_sent(settings: Settings, name: str) -> None:
    """Record that the host has got what `begin_sending` began, unless it is to be installed again meanwhile.

    HostError when the record cannot be written.
    """
    # `forget_handed_out` may have come between
    if (Path(settings.state_folder) / _FOLDER / name.lower()).exists():
        _record(settings, _SENT, name)


def _record(settings: Settings, place: str, name: str) -> bool:
    folder = Path(settings.state_folder) / place
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(folder / name.lower(), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return False
    except OSError as error:
        raise HostError(
            f"cannot record that the secrets of {name} are handed out: {error.strerror}"
        ) from None
    return True


def forget_handed_out(settings: Settings, names: Sequence[str]) -> None:
    """Let these hosts get their secrets once more. HostError when a record cannot be removed."""
    for name in names:
        try:
            for place in (_FOLDER, _SENT, TO_SYNC):
                remove_file(Path(settings.state_folder) / place / name.lower())
        except OSError as error:
            raise HostError(f"the record of secrets of {name} cannot be removed: {error.strerror}") from None
