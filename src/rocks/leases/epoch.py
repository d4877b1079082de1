"""The lease epoch of the cluster database, and the record of its state outside (decision 31).

After a restore of the database every host is asked what runs there, before anything starts.

The record is a file of root's on the frontend. It has the identity of the database and the serial number of its last
granted lease, and is written when the lease is committed and before a host is asked to start anything under it. So a
database that was put back from a copy differs from the record in every case in which a lease was used since.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import HostError, RocksError, StateError
from rocks.fleet.wire.leases import EPOCH_TOKENS

if TYPE_CHECKING:
    from collections.abc import Callable

    from rocks.database.connection import Database

_LONGEST_BYTES = 4096
_READ = "SELECT Identity, Epoch, Serial FROM lease_epoch WHERE ID = 1"


class LeaseEpoch(NamedTuple):
    """Identity of a database, its lease epoch, and the serial number of the last lease that it has granted."""

    identity: str
    epoch: int
    serial: int

    @property
    def first_token(self) -> int:
        """The lowest token of the epoch."""
        return self.epoch * EPOCH_TOKENS + 1

    def follows(self, recorded: LeaseEpoch | None) -> bool:
        """Whether this is the state of the recorded database, or a later one."""
        return recorded is not None and self.identity == recorded.identity and self.serial >= recorded.serial


def reason_to_compare(database: Database, present: LeaseEpoch, recorded: LeaseEpoch | None) -> str | None:
    """Why the hosts must be asked before leases are granted, as a clause; None when the database follows the record."""
    if present.follows(recorded):
        return None
    if recorded is None:
        return (
            f"this frontend has no record of the leases that were granted ({_path(database)} is missing or damaged): "
            "the site is new, or the frontend's files were lost or restored"
        )
    if present.identity != recorded.identity:
        return (
            "the cluster database is another one than before: it was made anew, or restored from an old copy"
        )
    return "the cluster database lacks the latest leases: it was restored from a copy"


def reason_to_add_nothing(database: Database, present: LeaseEpoch, recorded: LeaseEpoch | None) -> str | None:
    """As `reason_to_compare`, but None on a site that has never granted a lease."""
    is_new = recorded is None and present.serial == 0
    return None if is_new else reason_to_compare(database, present, recorded)


def read_epoch(database: Database) -> LeaseEpoch:
    """The state in the database; one that follows no record when its row is missing."""
    identity, epoch, serial = next(iter(database.rows(_READ)), ("", 0, -1))
    return LeaseEpoch(str(identity), int(epoch), int(serial))


def present_epoch(database: Database) -> int:
    """The lease epoch; 0 also when its row is missing."""
    return next((int(epoch) for _, epoch, _ in database.rows(_READ)), 0)


def read_record(database: Database) -> LeaseEpoch | None:
    """The state in the frontend's file; None without a file, and for one that is not readable as a record."""
    from rocks.core.files import open_plain

    try:
        with open_plain(_path(database), os.O_NOFOLLOW) as file:
            found = json.loads(file.read(_LONGEST_BYTES))
        return LeaseEpoch(str(found["identity"]), int(found["epoch"]), int(found["serial"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError, OverflowError):
        return None


def is_current(database: Database) -> bool:
    """Whether the database follows the record; else it was restored from a copy, or is new here."""
    return read_epoch(database).follows(read_record(database))


def ensure_epoch(database: Database, notify: Callable[[str], None]) -> None:
    """Return when leases may be granted; commits. One statement unless the database was restored or is new here.

    StateError when a host that must be asked does not answer; it names the hosts and what to run.
    """
    if not is_current(database):
        # late: for the first start after a restore
        from rocks.leases.comparison import compare_leases

        compare_leases(database, notify, only_when_due=True)


def try_epoch(database: Database) -> str | None:
    """As `ensure_epoch` before a stop, which goes on without it: None, or a warning with the reason."""
    try:
        ensure_epoch(database, lambda line: None)
    except RocksError as error:
        return f"machines may run on other hosts than the cluster database records: {error}"
    return None


def write_record(database: Database, state: LeaseEpoch) -> None:
    """Replace the file, on the disk. HostError when it cannot be written."""
    from pathlib import Path

    from rocks.core.files import write_file
    from rocks.database.locks import own_folder

    own_folder(database.settings.state_folder)
    write_file(Path(_path(database)), json.dumps(state._asdict()) + "\n")


def forget_record(database: Database) -> None:
    """Remove the file: no lease is granted until an epoch has begun. HostError when it cannot be removed."""
    from pathlib import Path

    from rocks.core.files import remove_file

    try:
        remove_file(Path(_path(database)))
    except OSError as error:
        raise HostError(f"cannot remove {_path(database)}: {error.strerror}") from None


def count_restore(database: Database) -> None:
    """Of a restored copy from before the first lease: it is no new site, and what came after it may run."""
    database.execute("UPDATE lease_epoch SET Serial = GREATEST(Serial, 1)")


def count_grant(database: Database) -> LeaseEpoch:
    """Count a grant of leases in the caller's transaction; its commit updates the record. Returns the new state.

    StateError when the database does not follow the record: then it was restored while a command was at work.
    """
    database.execute("UPDATE lease_epoch SET Serial = Serial + 1 WHERE ID = 1")
    state = read_epoch(database)
    reason = reason_to_compare(database, state._replace(serial=state.serial - 1), read_record(database))
    if reason is not None:
        raise StateError(
            f"no lease is granted: {reason}. `rocks sync vm lease` compares the cluster database with the hosts; then "
            "repeat the command"
        )
    database.after_commit(lambda: _record_progress(database, state))
    return state


def begin_epoch(database: Database, epoch: int, above_serial: int) -> None:
    """Begin an epoch under a new identity, which no copy has, in the caller's transaction; its commit records it."""
    database.execute("INSERT IGNORE INTO lease_epoch (ID, Identity) VALUES (1, '')")
    database.execute(
        "UPDATE lease_epoch SET Identity = REPLACE(UUID(), '-', ''), Epoch = %s, Serial = GREATEST(Serial, %s) + 1",
        (epoch, above_serial),
    )
    state = read_epoch(database)
    database.after_commit(lambda: write_record(database, state))


def _record_progress(database: Database, state: LeaseEpoch) -> None:
    """Record a state unless another command has recorded a later one."""
    with database.locked(_LOCK, _LOCK_SECONDS):
        recorded = read_record(database)
        if recorded is None or state.follows(recorded):
            write_record(database, state)


_LOCK = "lease record"
_LOCK_SECONDS = 20.0


def _path(database: Database) -> str:
    return os.path.join(  # noqa: PTH118
        database.settings.state_folder, f"leases-{database.settings.database}.json"
    )
