"""After a restore of the cluster database: leases are compared with what runs on the hosts (decision 31)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rocks.core.dataclasses import dataclass
from rocks.core.errors import RocksError, StateError, UserError
from rocks.core.names import check_host_name
from rocks.fleet.agent_line import AnsweringError
from rocks.fleet.wire.facts import ACTIVE_STATES, EPOCH_TOKENS, HostFacts, epoch_of
from rocks.inventory.host_records import find_local_host
from rocks.inventory.host_requests import may_be_off, open_fleet
from rocks.inventory.loaded_host_records import record_memory
from rocks.inventory.records import Disk, Lease
from rocks.leases import lease as leases
from rocks.leases.lease import (
    COLUMNS,
    begin_epoch,
    cover_disks,
    forget_record,
    is_current,
    lease_of,
    read_epoch,
    read_record,
    reason_to_compare,
)
from rocks.leases.machine_requests import contact_hosts
from rocks.leases.plan import MOVING, RUNNING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from rocks.database.connection import Database
    from rocks.fleet.wire.facts import DomainFact

    Place = tuple[str, DomainFact]


# Leases after a restore of the cluster database: what the hosts report decides (decision 31).


MAX_NEW_TOKENS = 2**20
"""How many leases of one machine a restored database may lack in an epoch: each start grants one."""

_LONGEST_NAME = 128
"""The longest name of a lease in the database."""

STATE = "/var/lib/rocks"
"""The state folder of hosts, for messages."""


class Disputed(NamedTuple):
    """A machine that several hosts claim: the host that has its lease, and the others that report it active."""

    name: str
    keeper: str
    others: tuple[str, ...]


@dataclass(frozen=True)
class Recovery:
    """What follows from the hosts' facts.

    `found`: machines that run under a lease that the database does not have, as (name, token, host). `fences`: domains
    that must go, as (host, name, token). `disputed`: machines of which no host's report decides where they belong.
    """

    found: tuple[tuple[str, int, str], ...]
    fences: tuple[tuple[str, str, int], ...]
    disputed: tuple[Disputed, ...] = ()


def epoch_seen(answer: HostFacts) -> int:
    """The highest epoch that a host reports, itself or by a token."""
    tokens = [domain.token for domain in answer.domains if domain.token is not None]
    return max([answer.epoch, *map(epoch_of, [*tokens, *(lease.token for lease in answer.leases)])])


def impossible_claim(answer: HostFacts, highest: int, leases: Mapping[str, Lease]) -> str | None:
    """What a host reports that no database of this site can have begun or granted, and where it stands; None without.

    `highest` is the last possible epoch, `leases` has lower-case names. A restored database may have forgotten leases,
    but not more than `MAX_NEW_TOKENS` of one machine in an epoch. The database compares names without accents and
    blanks at their end: a name that is none would be taken for that of another host's machine.
    """
    if answer.epoch > highest:
        return f"lease epoch {answer.epoch} (in {STATE}/leases/.epoch)"
    for domain in answer.domains:
        if domain.token is not None and not _is_name(domain.name):
            return f"lease {domain.token} of {ascii(domain.name[:80])} (in the definition of its domain)"
    claims = [
        *(
            (d.name, d.token, "in the definition of its domain")
            for d in answer.domains
            if d.token is not None
        ),
        *((lease.name, lease.token, f"in {STATE}/leases/{lease.name}") for lease in answer.leases),
    ]
    for name, token, place in claims:
        lease = leases.get(name.lower())
        granted = lease.token % EPOCH_TOKENS if lease and epoch_of(lease.token) == epoch_of(token) else 0
        is_too_late = epoch_of(token) > highest or token % EPOCH_TOKENS > granted + MAX_NEW_TOKENS
        if is_too_late or len(name) > _LONGEST_NAME:
            return f"lease {token} of {name} ({place})"
    return None


def _is_name(name: str) -> bool:
    try:
        check_host_name(name)
    except UserError:
        return False
    return True


def known_epoch(present: int, recorded: int, leases: Iterable[Lease]) -> int:
    """The highest epoch that the database and the record know."""
    return max([present, recorded, *(epoch_of(lease.token) for lease in leases)])


def next_epoch(present: int, recorded: int, leases: Iterable[Lease], facts: Mapping[str, HostFacts]) -> int:
    """An epoch whose tokens are above all that the database, the record and the hosts know; 0 where there are none."""
    leases = list(leases)
    highest = max([known_epoch(present, recorded, leases), *map(epoch_seen, facts.values())])
    has_tokens = any(
        answer.leases or any(d.token is not None for d in answer.domains) for answer in facts.values()
    )
    return highest + 1 if leases or has_tokens or highest else 0


def knows_more(leases: Mapping[str, Lease], facts: Mapping[str, HostFacts], epoch: int) -> bool:
    """Whether a host has seen an epoch or a token that the database, in this epoch, has not granted yet.

    A host stores the token above a lease that has ended, so the token that would be next is not one of them.
    """
    known = {name: lease.token for name, lease in leases.items()}
    for answer in facts.values():
        tokens = [(domain.name, domain.token) for domain in answer.domains if domain.token is not None]
        ended = [(lease.name, lease.token - 1) for lease in answer.leases]
        for name, token in [*tokens, *ended]:
            if token > max(known.get(name.lower(), 0), epoch * EPOCH_TOKENS):
                return True
    return any(answer.epoch > epoch for answer in facts.values())


def plan_recovery(
    leases: Mapping[str, Lease],
    machines: Mapping[str, str],
    facts: Mapping[str, HostFacts],
    off: Collection[str],
    epoch: int,
) -> Recovery:
    """The leases and fences to record; `leases` has lower-case names, `machines` maps each name to its container.

    A host that alone reports a machine active gets its lease. Of several hosts, the one that the database names keeps
    it, and no report takes an active domain from another host: the operator decides. Domains that are not active are
    fenced where the database itself places the machine elsewhere. A host that is `off` may return with domains of
    earlier epochs: a fence waits there for each machine that the database does not place on it. A machine whose live
    migration has not ended stays as it is, if only the two hosts of it have the machine: `move host vm` decides there.
    """
    containers = {name.lower(): host for name, host in machines.items()}
    places = _places(facts)
    moving = {name for name, lease in leases.items() if _is_moving(lease, places.get(name, ()))}
    places = {name: of_one for name, of_one in places.items() if name not in moving}
    running = {
        name: _chosen(of_one, leases.get(name), containers.get(name, "")) for name, of_one in places.items()
    }
    unmoved = {name for name in running if _is_newer(leases.get(name), running[name], facts)}
    found = [
        (domain.name, domain.token or 0, host)
        for name, (host, domain) in sorted(running.items())
        if name not in unmoved and not _agrees(leases.get(name), host, domain.token or 0)
    ]
    confirmed = {
        name: place
        for name, place in running.items()
        if name not in unmoved and _is_placed(leases.get(name), containers.get(name, ""), place[0])
    }
    fences = _fences_of_inactive(facts, confirmed)
    names = {name.lower(): name for name in [*machines, *(lease.name for lease in leases.values())]}
    for host in off:
        fences |= {
            (host, name, epoch * EPOCH_TOKENS)
            for lower, name in names.items()
            if (lower in running and lower not in unmoved)
            or not (
                _is_held_by(leases.get(lower), host) or (lower in moving and _is_target(leases[lower], host))
            )
        }
    disputed = [
        _disputed(places[name], (leases[name].host or "") if name in unmoved else host)
        for name, (host, _) in sorted(running.items())
        if name in unmoved or len(places[name]) > 1
    ]
    return Recovery(tuple(found), tuple(sorted(fences)), tuple(disputed))


def _places(facts: Mapping[str, HostFacts]) -> dict[str, list[Place]]:
    """Name in lower case → the hosts that report the domain active under a lease."""
    places: dict[str, list[Place]] = {}
    for host, answer in sorted(facts.items()):
        for domain in answer.domains:
            if domain.state in ACTIVE_STATES and domain.token is not None:
                places.setdefault(domain.name.lower(), []).append((host, domain))
    return places


def _chosen(places: Sequence[Place], lease: Lease | None, container: str) -> Place:
    """The place that the lease names, else the container, else the later lease."""
    return max(
        places,
        key=lambda place: (
            _is_held_by(lease, place[0]),
            place[0].lower() == container.lower(),
            place[1].token or 0,
        ),
    )


def _is_newer(lease: Lease | None, place: Place, facts: Mapping[str, HostFacts]) -> bool:
    """Whether another host, which answers, holds a lease of the machine above the reported one."""
    if lease is None or not lease.is_held or _is_held_by(lease, place[0]):
        return False
    return lease.token > (place[1].token or 0) and any(_is_held_by(lease, host) for host in facts)


def _is_placed(lease: Lease | None, container: str, host: str) -> bool:
    """Whether the database itself has the machine on the host."""
    held = lease is not None and lease.is_held
    return _is_held_by(lease, host) if held else container.lower() == host.lower()


def _fences_of_inactive(
    facts: Mapping[str, HostFacts], confirmed: Mapping[str, Place]
) -> set[tuple[str, str, int]]:
    """Fences for definitions that a host would start at its next boot."""
    return {
        (host, domain.name, confirmed[domain.name.lower()][1].token or 0)
        for host, answer in facts.items()
        for domain in answer.domains
        if domain.token is not None
        and domain.state not in ACTIVE_STATES
        and domain.name.lower() in confirmed
        and domain.token < (confirmed[domain.name.lower()][1].token or 0)
    }


def _disputed(places: Sequence[Place], keeper: str) -> Disputed:
    others = tuple(host for host, _ in places if host.lower() != keeper.lower())
    return Disputed(places[0][1].name, keeper, others)


def _agrees(lease: Lease | None, host: str, token: int) -> bool:
    return _is_held_by(lease, host) and lease is not None and lease.token >= token


def _is_moving(lease: Lease, places: Sequence[Place]) -> bool:
    """Whether its live migration has not ended, and no host has the machine otherwise than through it."""
    return lease.state == MOVING and all(
        (_is_held_by(lease, host) or _is_target(lease, host)) and (domain.token or 0) <= lease.token
        for host, domain in places
    )


def _is_target(lease: Lease, host: str) -> bool:
    return lease.target is not None and lease.target.lower() == host.lower()


def _is_held_by(lease: Lease | None, host: str) -> bool:
    return lease is not None and lease.host is not None and lease.host.lower() == host.lower()


# Leases of the whole site, for the comparison with its hosts after a restore; in sets.


def hosts_with_machines(database: Database) -> list[str]:
    """Physical hosts on which a virtual machine may run: by appliance, placement, lease or fence.

    A host that was removed cannot be asked; its fences wait for its return.
    """
    rows = database.rows(
        "SELECT n.Name FROM nodes n JOIN memberships m ON m.ID = n.Membership JOIN appliances a ON a.ID = m.Appliance"
        " WHERE a.Name = 'vm-container'"
        " UNION SELECT p.Name FROM vm_nodes v JOIN nodes p ON p.ID = v.PhysNode"
        " UNION SELECT Host FROM vm_leases WHERE Host IS NOT NULL"
        " UNION SELECT n.Name FROM vm_leases l JOIN nodes n ON n.Name = l.Target UNION"
        " SELECT n.Name FROM vm_fences f JOIN nodes n ON n.Name = f.Host ORDER BY 1"
    )
    return [str(name) for (name,) in rows]


def all_leases(database: Database) -> dict[str, Lease]:
    """Name in lower case → lease, also of machines that the database does not know any more."""
    rows = database.rows(f"SELECT {COLUMNS} FROM vm_leases")
    return {str(row[0]).lower(): lease_of(row) for row in rows}


def all_machines(database: Database) -> dict[str, tuple[str, ...]]:
    """Virtual machine → the paths of its disks on its host."""
    rows = database.rows(
        "SELECT n.Name, d.Prefix, d.Name FROM vm_nodes v JOIN nodes n ON n.ID = v.Node"
        " LEFT JOIN vm_disks d ON d.Vm_Node = v.ID ORDER BY n.ID, d.ID"
    )
    found: dict[str, tuple[str, ...]] = {}
    for name, prefix, disk in rows:
        path = Disk("", str(prefix or ""), str(disk or ""), "", "", 0).path
        found[str(name)] = found.get(str(name), ()) + ((path,) if path else ())
    return found


def containers_of_machines(database: Database) -> dict[str, str]:
    """Virtual machine → the host that the database places it on; empty for none."""
    rows = database.rows(
        "SELECT n.Name, p.Name FROM vm_nodes v JOIN nodes n ON n.ID = v.Node"
        " LEFT JOIN nodes p ON p.ID = v.PhysNode ORDER BY n.ID"
    )
    return {str(name): str(host or "") for name, host in rows}


def record_found(database: Database, found: Iterable[tuple[str, int, str]]) -> None:
    """Give hosts the leases of machines that run there: (name, token, host). A token only grows.

    They cover no disks then. The row gets the spelling of the name, which is that of the domain.
    """
    rows = [(name, token, host, RUNNING) for name, token, host in found]
    cover_disks(database, {name: () for name, *_ in rows})
    database.insert_many(
        "INSERT INTO vm_leases (Name, Token, Host, State) VALUES",
        rows,
        "ON DUPLICATE KEY UPDATE Name = VALUES(Name), Token = GREATEST(Token, VALUES(Token)), Host = VALUES(Host),"
        " State = 'running', Reason = NULL, Target = NULL",
    )


def end_interrupted_starts(database: Database) -> None:
    """Let no start be continued under the lease of an interrupted one: its epoch is over."""
    database.execute("UPDATE vm_leases SET State = 'running' WHERE State = 'starting'")


# Comparison of the leases with what runs on the hosts, after a restore of the cluster database (decision 31).


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
