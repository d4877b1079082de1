"""Leases after a restore of the cluster database: what the hosts report decides (decision 31). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rocks.core.dataclasses import dataclass
from rocks.core.errors import UserError
from rocks.core.names import check_host_name
from rocks.fleet.wire.domain_states import ACTIVE_STATES
from rocks.fleet.wire.leases import EPOCH_TOKENS, epoch_of
from rocks.leases.plan import MOVING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from rocks.fleet.wire.facts import DomainFact, HostFacts
    from rocks.inventory.records import Lease

    Place = tuple[str, DomainFact]


MAX_NEW_TOKENS = 2**20
"""How many leases of one machine a restored database may lack in an epoch: each start grants one."""

_LONGEST_NAME = 128
"""That of a lease in the database."""

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
