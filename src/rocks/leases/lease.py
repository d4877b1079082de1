"""Leases of virtual machines, in the database: their rows, fences, locks and epoch (decisions 2, 3 and 31)."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from rocks.core.errors import BusyError, HostError, RocksError, StateError
from rocks.fleet.wire.facts import EPOCH_TOKENS
from rocks.inventory.records import Lease
from rocks.leases.plan import MOVING, RUNNING, STARTING, HeldLease, move_was_interrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from rocks.database.connection import Database
    from rocks.leases.plan import DiskKey


# The lease epoch of the cluster database, and the record of its state outside (decision 31).
#
# After a restore of the database every host is asked what runs there, before anything starts.
#
# The record is a file of root's on the frontend. It has the identity of the database and the serial number of its last
# granted lease, and is written when the lease is committed and before a host is asked to start anything under it. So a
# database that was put back from a copy differs from the record in every case in which a lease was used since.


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
        from rocks.leases.after_restore import compare_leases

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
    """Count the restore of a copy from before the first lease: the site is not new, and what came later may run."""
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


# Leases of virtual machines, and the fences of lost leases (decision 3).
#
# The key of a row is a name, not an ID of `vm_nodes`: rows outlive `remove host vm`. So a new machine of the same name
# or on the same disk cannot start until the old domain is known to be gone.


PLACEMENTS = ("vm_core_leases", "vm_page_leases", "vm_device_leases")
"""Where leases of cores, pages and devices are stored."""

PARTS = ("sriov_leases", *PLACEMENTS)
"""The tables of what a machine has of its host under its lease; a row (Host, Name, Token) ends with the lease."""


COLUMNS = "Name, Token, Host, State, Reason, Target"
"""Of vm_leases, in the order that `lease_of` reads."""


def lease_of(row: Sequence[Any]) -> Lease:
    """A lease as COLUMNS have it."""
    return Lease(str(row[0]), int(row[1]), *row[2:])


def read_leases(database: Database, names: Sequence[str], lock: bool = False) -> dict[str, Lease]:
    """Name in lower case → lease, for the names that ever had one; `lock` locks the rows.

    A lease has the name as it is asked for: its row keeps the spelling of the last start, while the machine may have
    got its name in other case since.
    """
    rows = database.rows(
        f"SELECT {COLUMNS} FROM vm_leases WHERE Name IN %s" + (" FOR UPDATE" if lock else ""),
        [names],
    )
    asked = {name.lower(): name for name in names}
    found = [lease_of(row) for row in rows]
    return {
        lease.name.lower(): replace(lease, name=asked.get(lease.name.lower(), lease.name)) for lease in found
    }


def leases_held(database: Database, names: Sequence[str]) -> bool:
    """Whether a host may be running one of the named machines."""
    return any(lease.is_held for lease in read_leases(database, names).values())


def running(database: Database, names: Sequence[str]) -> list[str]:
    """The names whose machines run by their leases."""
    held = read_leases(database, names)
    return [name for name in names if (lease := held.get(name.lower())) and lease.state == RUNNING]


def leases_of_hosts(database: Database, hosts: Sequence[str], machines: Sequence[str] = ()) -> list[Lease]:
    """All leases held by the hosts, and those of machines that move to one of them while they run (`target`).

    Those of the named machines too, wherever they are held.
    """
    named = " OR Name IN %s" if machines else ""
    rows = database.rows(
        f"SELECT {COLUMNS} FROM vm_leases"
        f" WHERE State <> 'released' AND (Host IN %s OR Target IN %s{named}) ORDER BY Name",
        [hosts, hosts, machines] if machines else [hosts, hosts],
    )
    return [lease_of(row) for row in rows]


def held_leases(database: Database) -> list[HeldLease]:
    """All held leases, and all fences, by name of the machine."""
    return _held(database, "", ())


def held_by_unknown(database: Database) -> tuple[LeaseEpoch, list[tuple[str, str]]]:
    """The state of the database, and (name, host) of the leases of machines that it does not have, without fences.

    By name; one statement.
    """
    rows = database.rows(
        "SELECT COALESCE(e.Identity, ''), COALESCE(e.Epoch, 0), COALESCE(e.Serial, -1), l.Name, l.Host"
        " FROM (SELECT 1) one LEFT JOIN lease_epoch e ON e.ID = 1"
        f" LEFT JOIN vm_held_leases l ON {_OF_UNKNOWN} ORDER BY l.Name, l.Host"
    )
    identity, epoch, serial, *_ = rows[0]
    unknown = [(str(name), str(host)) for *_, name, host in rows if name is not None]
    return LeaseEpoch(str(identity), int(epoch), int(serial)), unknown


def held_by_removed(database: Database, names: Sequence[str]) -> list[str]:
    """The names that hold a lease, but are not virtual machines of the database any more.

    They are spelled as the domains on their hosts, which libvirt finds by no other spelling.
    """
    return [row.name for row in _held(database, f" WHERE {_OF_UNKNOWN} AND l.Name IN %s", [names])]


_OF_UNKNOWN = "l.State <> 'fence' AND NOT l.Known"


def _held(database: Database, condition: str, values: Sequence[Sequence[str]]) -> list[HeldLease]:
    rows = database.rows(
        "SELECT l.Name, l.Host, l.State, l.Token, l.Known, EXISTS (SELECT 1 FROM nodes n WHERE n.Name = l.Host),"
        " (SELECT m.Target FROM vm_leases m WHERE m.Name = l.Name AND l.State = 'moving')"
        f" FROM vm_held_leases l{condition} ORDER BY l.Name, l.Host",
        values,
    )
    return [
        HeldLease(str(name), str(host), str(state), int(token), bool(is_known), bool(host_is_known), target)
        for name, host, state, token, is_known, host_is_known, target in rows
    ]


def disk_holders(database: Database, keys: Sequence[DiskKey]) -> dict[DiskKey, str]:
    """(host, path) → the machine whose lease covers that disk."""
    rows = database.rows(
        "SELECT Host, Path, Name FROM vm_lease_disks WHERE (Host, Path) IN %s FOR UPDATE", [keys]
    )
    found = {(str(host).lower(), str(path)): str(name) for host, path, name in rows}
    return {key: found[key[0].lower(), key[1]] for key in keys if (key[0].lower(), key[1]) in found}


def disks_of(database: Database, name: str) -> list[DiskKey]:
    """The disks that the lease of the machine covers."""
    rows = database.rows("SELECT Host, Path FROM vm_lease_disks WHERE Name = %s ORDER BY Host, Path", [name])
    return [(str(host), str(path)) for host, path in rows]


def take_leases(database: Database, requests: Mapping[str, tuple[str, Sequence[DiskKey]]]) -> dict[str, int]:
    """Grant each named machine, which is to start, to its host under a new token; returns name in lower case → token.

    `requests` maps a name to (host, disks). The caller has checked, under the rows' lock, that the leases are free.
    The reason of a stop by force stays until the machine runs: a start that fails or is killed does not end it. The
    row gets the spelling of the name, which is that of the domain. StateError when the database was restored since the
    last grant.
    """
    if not requests:
        return {}
    names = list(requests)
    first_token = count_grant(database).first_token
    database.insert_many(
        "INSERT INTO vm_leases (Name, Token, Host, State) VALUES",
        [(name, first_token, host, STARTING) for name, (host, _) in requests.items()],
        "ON DUPLICATE KEY UPDATE Name = VALUES(Name), Token = GREATEST(Token + 1, VALUES(Token)), Host = VALUES(Host),"
        " State = 'starting'",
    )
    cover_disks(database, {name: keys for name, (_, keys) in requests.items()})
    _free_parts(database, names)
    return {name: lease.token for name, lease in read_leases(database, names).items()}


def cover_disks(database: Database, disks_of: Mapping[str, Sequence[DiskKey]]) -> None:
    """Make the leases of the named machines cover these disks and no others."""
    _drop_disks(database, list(disks_of))
    disks = {(host, path, name) for name, keys in disks_of.items() for host, path in keys}
    database.insert_many("INSERT INTO vm_lease_disks (Host, Path, Name) VALUES", sorted(disks))


def cover_also(database: Database, name: str, keys: Sequence[DiskKey]) -> None:
    """Make the lease of a machine cover these disks too; a disk of another lease stays that one's."""
    rows = [(host, path, name) for host, path in keys]
    database.insert_many(
        "INSERT INTO vm_lease_disks (Host, Path, Name) VALUES", rows, "ON DUPLICATE KEY UPDATE Name = Name"
    )


def uncover(database: Database, name: str, key: DiskKey) -> None:
    """The lease of the machine does not cover this disk any more."""
    database.execute("DELETE FROM vm_lease_disks WHERE Name = %s AND Host = %s AND Path = %s", (name, *key))


def begin_live_move(database: Database, name: str, target: str, disks: Sequence[DiskKey]) -> int:
    """Renew the lease of a machine that runs, which is to move to `target`; returns the new token.

    It covers the disks there, too. The caller has locked the machine. StateError as `take_leases`, and when the lease
    is not that of a machine that runs.
    """
    first_token = count_grant(database).first_token
    renewed = database.execute(
        "UPDATE vm_leases SET Token = GREATEST(Token + 1, %s), State = 'moving', Target = %s"
        " WHERE Name = %s AND State IN ('running', 'moving')",
        [first_token, target, name],
    )
    if renewed != 1:
        raise StateError(
            f"{name} is not moved: by its lease it does not run any more; see rocks list host vm lease, and repeat the "
            "command"
        )
    cover_also(database, name, disks)
    return read_leases(database, [name])[name.lower()].token


def end_live_move(database: Database, name: str, host: str, disks: Sequence[DiskKey]) -> None:
    """The machine runs on this host, under the same token, with these disks."""
    database.execute(
        "UPDATE vm_leases SET State = 'running', Target = NULL, Host = %s WHERE Name = %s AND State = 'moving'",
        [host, name],
    )
    cover_disks(database, {name: disks})


def set_state(database: Database, names: Sequence[str], state: str, reason: str | None = None) -> None:
    """Record the state of the leases: starting, running, stopping or saved.

    `reason`: why, when it is by force; without one, a stored reason is erased.
    """
    database.execute(
        "UPDATE vm_leases SET State = %s, Reason = %s WHERE State <> 'released' AND Name IN %s",
        [state, reason, names],
    )


def release_leases(database: Database, names: Sequence[str], reason: str | None = None) -> None:
    """Release the leases of machines that run nowhere. The token stays, so that the next one is higher.

    Their disks become free, and so do functions, cores, pages and devices, except on a host that a fence still has
    to reach.
    """
    release_keeping_reasons(database, names)
    database.execute("UPDATE vm_leases SET Reason = %s WHERE Name IN %s", [reason, names])


def release_keeping_reasons(database: Database, names: Sequence[str]) -> None:
    """As `release_leases`, but a stored reason, of a stop by force, stays."""
    database.execute(
        "UPDATE vm_leases SET State = 'released', Host = NULL, Target = NULL WHERE Name IN %s",
        [names],
    )
    _drop_disks(database, names)
    _free_parts(database, names)


def forget_reasons(database: Database, names: Sequence[str]) -> None:
    """Erase the reasons of released leases.

    An operator has stopped or removed the machines, so that an evacuation does not start them elsewhere.
    """
    database.execute(
        "UPDATE vm_leases SET Reason = NULL WHERE State = 'released' AND Name IN %s",
        [names],
    )


def rename_lease_host(database: Database, old: str, new: str) -> None:
    """Rename a host."""
    for table in ("vm_leases", "vm_lease_disks", "vm_fences", *PARTS):
        database.execute(f"UPDATE {table} SET Host = %s WHERE Host = %s", (new, old))
    database.execute("UPDATE vm_leases SET Target = %s WHERE Target = %s", (new, old))


def put_up_fences(database: Database, fences: Iterable[tuple[str, str, int]]) -> None:
    """Record fences (host, name, token): the host must destroy each domain of that name with a lower token."""
    database.insert_many(
        "INSERT INTO vm_fences (Host, Name, Token) VALUES",
        fences,
        "ON DUPLICATE KEY UPDATE Token = GREATEST(Token, VALUES(Token))",
    )


def fences_of_hosts(database: Database, hosts: Sequence[str]) -> dict[str, list[tuple[str, int]]]:
    """Host → (name, token) of the fences that it has not confirmed."""
    found: defaultdict[str, list[tuple[str, int]]] = defaultdict(list)
    for host, name, token in database.rows(
        "SELECT Host, Name, Token FROM vm_fences WHERE Host IN %s ORDER BY Name", [hosts]
    ):
        found[str(host)].append((str(name), int(token)))
    return found


def take_down_fences(database: Database, host: str, fences: Collection[tuple[str, int]]) -> None:
    """Remove these fences, by name and token; the host has confirmed that no domain below them remains.

    One that was put up meanwhile, with a higher token, stays.
    """
    present = database.rows(
        "SELECT Name, Token FROM vm_fences WHERE Host = %s AND Name IN %s FOR UPDATE",
        [host, [name for name, _ in fences]],
    )
    names = [str(name) for name, token in present if (str(name), int(token)) in fences]
    _delete_parts(database, "s.Token < f.Token AND f.Host = %s AND f.Name IN %s", [host, names])
    database.execute("DELETE FROM vm_fences WHERE Host = %s AND Name IN %s", [host, names])


def _free_parts(database: Database, names: Sequence[str]) -> None:
    """Release what machines that run nowhere have, except on hosts that have not confirmed a fence of the machine.

    After a takeover by force from a silent host, that stays leased until the host confirms that the old domain is gone.
    """
    _delete_parts(database, "f.Name IS NULL AND s.Name IN %s", [names])


def free_released_parts(database: Database) -> None:
    """As `_free_parts`, of all machines that run nowhere.

    A restored copy may have brought parts of leases that have ended.
    """
    released = "SELECT Name FROM vm_leases WHERE State = 'released'"
    _delete_parts(database, f"f.Name IS NULL AND s.Name IN ({released})", ())


def _delete_parts(database: Database, condition: str, values: Sequence[object]) -> None:
    """Delete the parts `s`, each beside its fence `f`, for which the condition holds."""
    for table in PARTS:
        database.execute(
            f"DELETE s FROM {table} s LEFT JOIN vm_fences f ON f.Host = s.Host AND f.Name = s.Name WHERE {condition}",
            values,
        )


def _drop_disks(database: Database, names: Sequence[str]) -> None:
    database.execute("DELETE FROM vm_lease_disks WHERE Name IN %s", [names])


# The named lock of each virtual machine: one command at a time changes it (decision 2).


LOCK_WAIT_SECONDS = 2.0
"""How long a command waits for another one that changes the same machine, volume or image."""


def lock_vms(
    database: Database,
    names: Sequence[str],
    *,
    also_moving: bool = False,
    wait_seconds: float = LOCK_WAIT_SECONDS,
) -> dict[str, RocksError]:
    """Lock the machines until the connection closes; the error of each that another command is changing.

    So of each whose live migration was interrupted, unless `also_moving`: two hosts may have it.
    """
    busy: dict[str, RocksError] = dict(_lock(database, names, wait_seconds))
    if not also_moving:
        for lease in read_leases(database, names).values():
            if lease.state == MOVING:
                name = next(name for name in names if name.lower() == lease.name.lower())
                busy.setdefault(name, move_was_interrupted(lease))
        database.end_reading()
    return busy


def ensure_locked(
    database: Database,
    names: Sequence[str],
    *,
    also_moving: bool = False,
    wait_seconds: float = LOCK_WAIT_SECONDS,
) -> None:
    """As `lock_vms`; the error of the first machine that is not locked."""
    for error in lock_vms(database, names, also_moving=also_moving, wait_seconds=wait_seconds).values():
        raise error


def check_not_moving(database: Database, found: Iterable[Lease]) -> None:
    """Raise the error of the first of the leases whose machine is moving to another host; one that moves is locked.

    StateError after an interrupted migration, BusyError while a command is at work on it.
    """
    moving = [lease.name for lease in found if lease.state == MOVING]
    if moving:
        ensure_locked(database, moving)


def _lock(database: Database, names: Sequence[str], wait_seconds: float) -> dict[str, BusyError]:
    try:
        database.lock_all([_lock_name(name) for name in names], wait_seconds)
        return {}
    except BusyError:
        pass  # find out below which of them are busy, so that the others go on
    busy = {}
    for name in names:
        try:
            database.lock_all([_lock_name(name)], 0)
        except BusyError:
            busy[name] = BusyError(
                f"another command is changing {name} at this moment; try again when it has ended (rocks list host vm "
                "lease shows what is being started or stopped)"
            )
    return busy


def unlock_vms(database: Database, names: Sequence[str]) -> None:
    """Unlock the machines; those that this connection has not locked are ignored."""
    database.unlock_all([_lock_name(name) for name in names])


def _lock_name(name: str) -> str:
    return f"vm {name.lower()}"
