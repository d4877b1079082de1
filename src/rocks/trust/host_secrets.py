"""Secret attributes on hosts: `rocks sync host sec_attr` writes a file for each, which only root can read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.fleet.host_files import FileChange
from rocks.inventory.attributes.known import KNOWN
from rocks.inventory.attributes.secret_records import read_global, read_of_hosts
from rocks.inventory.host_files import sync_files

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rocks.core.errors import RocksError
    from rocks.database.connection import Database

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
