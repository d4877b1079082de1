"""Accounts of people of the frontend on the hosts: `rocks sync users`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from rocks.core.errors import HostError
from rocks.fleet.host_files import FileChange
from rocks.inventory.host_files import sync_files
from rocks.trust.account_rules import HostAccounts, chosen_accounts, merge_accounts, record_of_both

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rocks.core.errors import RocksError
    from rocks.database.connection import Database
    from rocks.trust.account_rules import Accounts

_FOLDER = Path("/etc")
_RECORD = "/var/lib/rocks/accounts"
"""On a host: the names of accounts and groups that came from the frontend."""

_FILES = {"passwd": "/etc/passwd", "shadow": "/etc/shadow", "group": "/etc/group", "gshadow": "/etc/gshadow"}
ACCOUNT_FILES = (*_FILES.values(), _RECORD)
LOCKS = tuple(_FILES)
"""Those of shadow-utils: useradd there waits."""

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
