"""Accounts of the frontend on hosts: which are sent, and what becomes of a host's files.

Sources: passwd(5), shadow(5), group(5), gshadow(5), login.defs(5).
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import HostError, StateError
from rocks.core.names import printable
from rocks.fleet.host_files import FileChange
from rocks.inventory.host_requests import sync_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from rocks.core.errors import RocksError
    from rocks.database.connection import Database


_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}")
_LOWEST, _HIGHEST = 1000, 60000
_LOCKED = "!"
_NOBODY = 65534
_USERS = 100
"""The group `users` of every distribution: a primary group outside of the range that is allowed."""


class Accounts(NamedTuple):
    """Name → fields of its line, as in the files of the same names; `problems` are accounts that are left out."""

    passwd: Mapping[str, tuple[str, ...]]
    shadow: Mapping[str, tuple[str, ...]]
    group: Mapping[str, tuple[str, ...]]
    problems: tuple[str, ...] = ()


class HostAccounts(NamedTuple):
    """The files of a host as text; `gshadow` is None where there is none. `record` has the names that are ours."""

    passwd: str
    shadow: str
    group: str
    gshadow: str | None
    record: str


def chosen_accounts(passwd: str, shadow: str, group: str, login_definitions: str) -> Accounts:
    """The accounts of people: those whose numbers are in the ranges of login.defs, with their passwords' hashes.

    root's and those of the system, and their groups, are never among them. Accounts without a password are sent locked.
    """
    lowest, highest = _range(login_definitions, "UID")
    group_lowest, group_highest = _range(login_definitions, "GID")
    problems: list[str] = []
    groups = {
        name: (name, "x", fields[2], fields[3])
        for name, fields in _table(group, 4).items()
        if _NAME.fullmatch(name) and _in_range(fields[2], group_lowest, group_highest)
    }
    people: dict[str, tuple[str, ...]] = {}
    for name, fields in _table(passwd, 7).items():
        if not _in_range(fields[2], lowest, highest):
            continue
        if not _NAME.fullmatch(name):
            problems.append(f"the account {printable(name)} is not sent: its name is not one of a user")
        elif not (_in_range(fields[3], group_lowest, group_highest) or fields[3] == str(_USERS)):
            problems.append(
                f"the account {name} is not sent: its group {printable(fields[3])} is one of the system"
            )
        else:
            people[name] = (name, "x", *fields[2:])
    hashes = _table(shadow, 9)
    found = {name: hashes.get(name, (name, _LOCKED, *[""] * 7)) for name in people}
    secrets = {name: (name, fields[1] or _LOCKED, *fields[2:]) for name, fields in found.items()}
    members = {name: (*fields[:3], _only(fields[3], people)) for name, fields in groups.items()}
    return Accounts(people, secrets, members, tuple(problems))


def merge_accounts(host: HostAccounts, expected: Accounts) -> HostAccounts:
    """The files of the host with the accounts of the frontend; those that are ours and no longer expected are gone.

    All other lines stay as they are. StateError when a name or a number is that of another account of the host.
    """
    ours = _read_record(host.record)
    _check_free("account", _table(host.passwd, 7), expected.passwd, ours["user"])
    _check_free("group", _table(host.group, 4), expected.group, ours["group"])
    users, groups = expected.passwd.keys(), expected.group.keys()
    gshadow = {name: (name, _LOCKED, "", fields[3]) for name, fields in expected.group.items()}
    return HostAccounts(
        _merged(host.passwd, expected.passwd, ours["user"] - users),
        _merged(host.shadow, expected.shadow, ours["user"] - users),
        _merged(host.group, expected.group, ours["group"] - groups),
        None if host.gshadow is None else _merged(host.gshadow, gshadow, ours["group"] - groups),
        _record(users, groups),
    )


def record_of_both(old: str, new: str) -> str:
    """The record while accounts are changed: what was ours and what becomes so, if the change is interrupted."""
    before, after = _read_record(old), _read_record(new)
    return _record(before["user"] | after["user"], before["group"] | after["group"])


def _range(text: str, kind: str) -> tuple[int, int]:
    """The lowest and highest number of people's accounts or groups; never below 500, where those of the system are."""
    found = dict(re.findall(rf"(?m)^\s*({kind}_MIN|{kind}_MAX)\s+([0-9]{{1,9}})\s*$", text))
    lowest = int(found.get(f"{kind}_MIN", _LOWEST))
    return max(lowest, 500), int(found.get(f"{kind}_MAX", _HIGHEST))


def _in_range(number: str, lowest: int, highest: int) -> bool:
    digits = number.isascii() and number.isdigit() and len(number) <= 10
    return digits and lowest <= int(number) <= highest and int(number) != _NOBODY


def _table(text: str, count: int) -> dict[str, tuple[str, ...]]:
    """Name → fields of the valid lines; of two lines with a name the first counts, as in glibc."""
    found: dict[str, tuple[str, ...]] = {}
    for line in text.split("\n"):
        fields = tuple(line.split(":"))
        if len(fields) == count and fields[0] and not fields[0].startswith(("#", "+", "-")):
            found.setdefault(fields[0], fields)
    return found


def _only(members: str, people: Mapping[str, object]) -> str:
    return ",".join(name for name in members.split(",") if name in people)


def _check_free(
    what: str,
    present: Mapping[str, tuple[str, ...]],
    expected: Mapping[str, tuple[str, ...]],
    ours: set[str],
) -> None:
    of_number = {fields[2]: name for name, fields in present.items() if name not in ours}
    for name, fields in expected.items():
        own = present.get(name)
        if own is not None and name not in ours and own[2] != fields[2]:
            raise StateError(
                f"it has {what} {name} of its own with the number {printable(own[2])}, which has {fields[2]} on the "
                f"frontend: remove or rename it there, then rocks sync users"
            )
        other = of_number.get(fields[2], name)
        if other != name:
            raise StateError(
                f"the number {fields[2]} of {what} {name} is that of its own {what} {printable(other)}: change one of "
                "the two, then rocks sync users"
            )


def _merged(text: str, expected: Mapping[str, tuple[str, ...]], gone: Iterable[str]) -> str:
    """The lines of the file, with the expected ones in their old places or else at the end."""
    removed = set(gone)
    rest = dict(expected)
    lines = []
    for line in text.split("\n")[:-1] if text.endswith("\n") else [line for line in text.split("\n") if line]:
        name = line.split(":", 1)[0]
        if name in expected:
            if name in rest:
                lines.append(":".join(rest.pop(name)))
        elif name not in removed:
            lines.append(line)
    tail = [line for line in lines if line.startswith("+")]  # NIS: nothing is read after its line
    lines = [line for line in lines if not line.startswith("+")]
    return "".join(f"{line}\n" for line in [*lines, *map(":".join, rest.values()), *tail])


def _record(users: Iterable[str], groups: Iterable[str]) -> str:
    lines = [*(f"user {name}" for name in sorted(users)), *(f"group {name}" for name in sorted(groups))]
    return "".join(f"{line}\n" for line in lines)


def _read_record(text: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {"user": set(), "group": set()}
    for line in text.splitlines():
        kind, _, name = line.partition(" ")
        if kind in found and _NAME.fullmatch(name):
            found[kind].add(name)
    return found


# Accounts of people of the frontend on the hosts: `rocks sync users`.


_FOLDER = Path("/etc")
_RECORD = "/var/lib/rocks/accounts"
"""On a host: the names of accounts and groups that came from the frontend."""

_FILES = {"passwd": "/etc/passwd", "shadow": "/etc/shadow", "group": "/etc/group", "gshadow": "/etc/gshadow"}
ACCOUNT_FILES = (*_FILES.values(), _RECORD)
LOCKS = tuple(_FILES)
"""The locks of shadow-utils: useradd waits there."""

_SECRET = 0o600


def read_own_accounts() -> Accounts:
    """The accounts of people on this machine. HostError when its files cannot be read.

    The environment variable ROCKS_ACCOUNTS_FOLDER names another folder than /etc.
    """
    folder = Path(os.environ.get("ROCKS_ACCOUNTS_FOLDER") or _FOLDER)
    passwd, shadow, group = (_read(folder / name) for name in ("passwd", "shadow", "group"))
    return chosen_accounts(passwd, shadow, group, _read(folder / "login.defs", ""))


def sync_accounts(
    database: Database, names: Sequence[str], accounts: Accounts
) -> Iterator[tuple[str, bool | RocksError]]:
    """Have the accounts on each host, and those that came before and are gone here no longer.

    Yields (host, whether it changed, or the error). A host with an account of its own in the way stays as it is.
    Homes and other files of people are not touched.
    """

    def plan(host: str, found: Mapping[str, bytes]) -> list[FileChange]:
        return account_changes(found, accounts)

    yield from sync_files(database, names, ACCOUNT_FILES, plan, LOCKS)


def account_changes(found: Mapping[str, bytes], accounts: Accounts) -> list[FileChange]:
    """The changes for a host with these files. StateError when an account of its own is in the way."""
    missing = [path for name, path in _FILES.items() if path not in found and name != "gshadow"]
    if missing:
        raise HostError(f"it has no {missing[0]}, so no account can be added: log in there and run pwconv")
    old = {name: _text(found[path]) for name, path in _FILES.items() if path in found}
    record = _text(found.get(_RECORD, b""))
    host = HostAccounts(old["passwd"], old["shadow"], old["group"], old.get("gshadow"), record)
    new = merge_accounts(host, accounts)
    texts = {"group": new.group, "gshadow": new.gshadow, "passwd": new.passwd, "shadow": new.shadow}
    changes = [
        FileChange(_FILES[name], _bytes(text), _SECRET)
        for name, text in texts.items()
        if text is not None and text != old[name]
    ]
    both = record_of_both(record, new.record)
    # a command that is killed in between leaves a record with every name that may be ours
    before = [FileChange(_RECORD, _bytes(both), _SECRET)] if changes and both != record else []
    written = both if before else record
    after = [FileChange(_RECORD, _bytes(new.record), _SECRET)] if new.record != written else []
    return [*before, *changes, *after]


def _read(path: Path, default: str | None = None) -> str:
    try:
        return _text(path.read_bytes())
    except FileNotFoundError:
        if default is not None:
            return default
        raise HostError(f"{path} is not there, so it is not known which accounts to send") from None
    except OSError as error:
        raise HostError(f"cannot read {path}: {error.strerror}; run the command as root") from None


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
