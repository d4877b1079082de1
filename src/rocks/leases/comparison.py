"""Comparison of the leases with what runs on the hosts, after a restore of the cluster database (decision 31)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import RocksError, StateError, UserError
from rocks.fleet.agent_line import AnsweringError
from rocks.fleet.wire.facts import HostFacts
from rocks.inventory.host_records import find_local_host
from rocks.inventory.host_requests import may_be_off, open_fleet
from rocks.inventory.loaded_host_records import record_memory
from rocks.leases import records as leases
from rocks.leases.comparison_records import (
    all_leases,
    all_machines,
    containers_of_machines,
    end_interrupted_starts,
    hosts_with_machines,
    record_found,
)
from rocks.leases.comparison_rules import (
    impossible_claim,
    known_epoch,
    knows_more,
    next_epoch,
    plan_recovery,
)
from rocks.leases.epoch import (
    begin_epoch,
    forget_record,
    is_current,
    read_epoch,
    read_record,
    reason_to_compare,
)
from rocks.leases.machine_requests import contact_hosts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rocks.database.connection import Database
    from rocks.inventory.records import Lease
    from rocks.leases.comparison_rules import Recovery

LOCK = "lease epoch"
LOCK_SECONDS = 60.0
COMMAND = "rocks sync vm lease"
MAX_NEW_EPOCHS = 2**16
"""How far a host's epoch may be above those that the frontend knows; a restore makes one.

A host that reports any number must not use up the epochs of the site.
"""


class _Bounds(NamedTuple):
    """What hosts may have seen: epochs up to `highest`, and little more than the leases in the database."""

    highest: int
    leases: Mapping[str, Lease]


def compare_leases(
    database: Database, notify: Callable[[str], None], off: Sequence[str] = (), only_when_due: bool = False
) -> None:
    """Record what runs on the hosts, and begin a new lease epoch; commits. No change when the database has it all.

    `off`: hosts that are certainly off and are not asked; when they return, their older domains are destroyed.
    UserError for this machine itself, and for one on which no machine can run. StateError, and no change, when another
    host does not answer; what the caller changed before is committed all the same.
    """
    database.commit()  # the caller's changes: none are open while hosts are waited for, and the rollback keeps them
    with database.locked(LOCK, LOCK_SECONDS):
        try:
            if only_when_due and is_current(database):
                return  # another command has just done it
            _compare(database, notify, off)
        finally:
            database.rollback()


def _compare(database: Database, notify: Callable[[str], None], off: Sequence[str]) -> None:
    hosts, off = _hosts_to_ask(database, off)
    recorded, present, granted = read_record(database), read_epoch(database), all_leases(database)
    reason = reason_to_compare(database, present, recorded)
    known = (present.epoch, recorded.epoch if recorded else 0, granted.values())
    bounds = _Bounds(known_epoch(*known) + MAX_NEW_EPOCHS, granted)
    refusal = _refusal(reason)
    facts = _ask(database, hosts, 0, bounds, refusal)
    machines = containers_of_machines(database)
    if reason is None and not off and _is_in_step(granted, machines, facts, present.epoch):
        _report_disputed(plan_recovery(granted, machines, facts, (), present.epoch), notify)
        return
    epoch = next_epoch(*known, facts)
    if epoch:
        # until the hosts and the database have the new epoch, a start repeats the comparison
        forget_record(database)
        # from now on the hosts start nothing for another frontend with an older copy: what they report stays true
        facts = _ask(database, hosts, epoch, bounds._replace(highest=epoch), refusal)
    plan = plan_recovery(all_leases(database), machines, facts, off, epoch)
    record_found(database, plan.found)
    _cover_disks(database, plan, all_machines(database))
    leases.put_up_fences(database, plan.fences)
    end_interrupted_starts(database)
    begin_epoch(database, epoch, recorded.serial if recorded else 0)
    database.commit()
    for name, _, host in plan.found:
        notify(f"{name} runs on {host}, which the cluster database did not record; now it does")
    _report_disputed(plan, notify)


def _report_disputed(plan: Recovery, notify: Callable[[str], None]) -> None:
    """Two hosts may run the same machine, or one of them reports what is not true: the operator decides."""
    for name, keeper, others in plan.disputed:
        notify(
            f"{name} has its lease on {keeper}, but {' and '.join(others)} reports it running, too; nothing was moved "
            f"or destroyed. See on each host whether it runs (`virsh list`), and stop it on one: on {keeper} "
            f"`rocks stop host vm {name}`, on {' and '.join(others)} `virsh destroy {name}`; then `{COMMAND}`"
        )


def _is_in_step(
    granted: Mapping[str, Lease], machines: Mapping[str, str], facts: Mapping[str, HostFacts], epoch: int
) -> bool:
    """Whether the hosts report nothing that the database does not have: then nothing is changed."""
    plan = plan_recovery(granted, machines, facts, (), epoch)
    return not plan.found and not plan.fences and not knows_more(granted, facts, epoch)


def _hosts_to_ask(database: Database, off: Sequence[str]) -> tuple[list[str], list[str]]:
    """The hosts to ask, and those that are off, as the database spells them."""
    hosts = hosts_with_machines(database)
    known = {host.lower(): host for host in hosts}
    own = find_local_host(database)
    for name in off:
        if own is not None and name.lower() == own.lower():
            raise UserError(f"{name} is this machine, which runs the command, so it is not off")
        if name.lower() not in known:
            raise UserError(
                f"{name} is not a host on which virtual machines run: {', '.join(hosts) or 'none'}"
            )
    spelled = list(dict.fromkeys(known[name.lower()] for name in off))
    return [host for host in known.values() if host not in spelled], spelled


def _ask(
    database: Database, hosts: Sequence[str], epoch: int, bounds: _Bounds, refusal: str
) -> dict[str, HostFacts]:
    """The facts of all hosts. StateError unless each of them answers, with nothing that cannot have been granted.

    `refusal` begins the error.
    """
    with open_fleet(database, hosts) as fleet:
        answers = contact_hosts(database, fleet, hosts, epoch=epoch, asks_leases=True)
    known = {host: answer.memory_mb for host, answer in answers.items() if isinstance(answer, HostFacts)}
    record_memory(database, known)
    database.commit()
    found: dict[str, HostFacts] = {}
    silent: dict[str, RocksError] = {}
    for host, answer in answers.items():
        if isinstance(answer, RocksError):
            silent[host] = answer
        elif claim := impossible_claim(answer, bounds.highest, bounds.leases):
            silent[host] = AnsweringError(
                f"{host} reports {claim}, which no cluster database of this site can have granted: it is damaged or "
                f"forged; see what runs on {host} (`virsh list`), end what should not, and move that file away or "
                "undefine that domain"
            )
        else:
            found[host] = answer
    if silent:
        raise _unanswered(silent, refusal)
    return found


def _refusal(reason: str | None) -> str:
    """What is not done when a host does not answer, and why it is needed: `reason`, of `reason_to_compare`."""
    if reason is None:
        return "the leases are not compared: not all"
    return f"the leases are not compared, and no machine can start until they are: {reason}. Not all"


def _unanswered(silent: Mapping[str, RocksError], refusal: str) -> StateError:
    names, off = " ".join(silent), [host for host, why in silent.items() if may_be_off(why)]
    if len(off) == len(silent):
        then = f'or when they are certainly off: {COMMAND} {names} host-off=yes reason="…"'
    else:
        then = f"or switch {' '.join(host for host in silent if host not in off)} off, and repeat it then"
    return StateError(
        f"{refusal} hosts have reported what runs there: {names} ({next(iter(silent.values()))}). Repeat the command "
        f"when they answer, {then}"
    )


def _cover_disks(database: Database, plan: Recovery, machines: Mapping[str, tuple[str, ...]]) -> None:
    """Cover the disks of found machines, unless another machine's lease covers them."""
    paths = {name.lower(): disks for name, disks in machines.items()}
    keys = {name: [(host, path) for path in paths.get(name.lower(), ())] for name, _, host in plan.found}
    holders = leases.disk_holders(database, [key for of_one in keys.values() for key in of_one])
    leases.cover_disks(
        database,
        {
            name: [key for key in of_one if holders.get(key, name).lower() == name.lower()]
            for name, of_one in keys.items()
        },
    )
