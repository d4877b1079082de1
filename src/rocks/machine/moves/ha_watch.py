"""High availability: when a host has been silent for so long that its machines are started elsewhere. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rocks.machine.leases.plan import MOVING
from rocks.machine.moves.live_move_rules import is_off_on_both

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from rocks.fleet.wire.facts import HostFacts
    from rocks.inventory.records import Lease

REASON = "high availability: "
"""Begins the reason of every lease that the service takes from a host."""

LEAST_LOSSES = 2
"""Questions in a row in which a machine was lost: between the first and its lease, a command may have stopped it."""

LEAST_SILENCES = 3
"""Questions in a row without an answer: a service that was stopped itself has not asked meanwhile."""

_FIRST_PAUSE_SECONDS = 60.0
_LONGEST_PAUSE_SECONDS = 900.0


class Watched(NamedTuple):
    """Machines with high availability, by host.

    `held`: the host may run them, and they are to run. `interrupted`: the service began to take them from the host, or
    to start them there, and they run nowhere else yet. `moving`: they move from or to the host while they run, so
    that either of two hosts may run them; nothing is started for them.
    """

    held: dict[str, list[str]]
    interrupted: dict[str, list[str]]
    moving: dict[str, list[str]]

    @property
    def hosts(self) -> list[str]:
        """The hosts to ask."""
        return sorted({*self.held, *self.interrupted, *self.moving})

    def of_host(self, host: str) -> list[str]:
        """The machines that are started elsewhere when the host is silent."""
        return sorted({*self.held.get(host, ()), *self.interrupted.get(host, ())})


def watched(names: Iterable[str], leases: Mapping[str, Lease], places: Mapping[str, str]) -> Watched:
    """The machines that are to run, by host. `leases` has lower-case names, `places` maps a name to its recorded host.

    One that an operator stops or has stopped, or that has ended by itself, is left as it is.
    """
    found = Watched({}, {}, {})
    for name in names:
        lease = leases.get(name.lower())
        if lease is None:
            continue
        is_ours = (lease.reason or "").startswith(REASON)
        host = lease.host or places.get(name, "")
        if lease.state == MOVING:
            for either in filter(None, (lease.host, lease.target)):
                found.moving.setdefault(either, []).append(name)
        elif lease.state == "running" or (lease.state == "starting" and not is_ours):
            found.held.setdefault(host, []).append(name)
        elif is_ours and host:
            found.interrupted.setdefault(host, []).append(name)
    return found


def move_is_stuck(lease: Lease, silent: str) -> str:
    """The message on a live migration that has not ended, one of whose hosts has failed."""
    line = (
        f"{silent} does not answer, and {lease.name} was moving from {lease.host} to {lease.target}: it is not started "
        "elsewhere, since either may run it. When no command is moving it: "
        f"rocks move host vm {lease.name} {lease.target} live=yes"
    )
    if silent != lease.target:
        return line
    return f"{line}; or, when {silent} is certainly off: rocks stop host vm {lease.name} force=yes reason=…"


def lost(host: str, held: Iterable[Lease], facts: HostFacts) -> list[Lease]:
    """Those of the leases whose machines the host was to run and does not, though none has ended by itself.

    So it is after a power failure of the host: QEMU is gone, and libvirt's hook noted no end. An end that is noted is
    about to be reported, and ends the lease.
    """
    if facts.noted_ends is None:
        return []
    there = {domain.name.lower() for domain in facts.domains if domain.state != "shutoff"}
    there |= {name.lower() for name in facts.noted_ends}
    running = [lease for lease in held if lease.state == "running" and lease.host == host]
    return [lease for lease in running if lease.name.lower() not in there]


def restart_lines(host: str, begun: Sequence[Lease]) -> list[str]:
    """What the log says of machines that the host has lost, and that are started again."""
    names = [lease.name for lease in begun if lease.state != MOVING]
    lines = [
        f"{lease.name} was moving from {lease.host} to {lease.target}, is off on both, and has not ended by itself: "
        "the move is ended, and it is started again"
        for lease in begun
        if lease.state == MOVING
    ]
    if names:
        lines.append(
            f"{host} answers, but does not run {', '.join(names)} any more, which has not ended by itself: "
            "it is started there again"
        )
    return lines


def lost_moves(moving: Iterable[Lease], facts: Mapping[str, HostFacts | None]) -> list[Lease]:
    """Those of the leases of live migrations whose guests are off on both hosts, though none has ended by itself."""
    found = []
    for lease in moving:
        answers = [facts.get(host) for host in (lease.host or "", lease.target or "")]
        noted = {name.lower() for one in answers if one is not None for name in one.noted_ends or ()}
        knows = all(one is not None and one.noted_ends is not None for one in answers)
        is_off = is_off_on_both(lease.name, lease.host, lease.target, facts)
        if knows and is_off and lease.name.lower() not in noted:
            found.append(lease)
    return found


class Losses:
    """Which machines are lost, and for how many questions in a row; in the memory of the service."""

    def __init__(self) -> None:
        self._counts: dict[Lease, int] = {}

    def observe(self, leases: Collection[Lease]) -> list[Lease]:
        """Take the leases of the machines that a round has found lost; returns those that are so for long enough."""
        self._counts = {lease: self._counts.get(lease, 0) + 1 for lease in leases}
        return [lease for lease, count in self._counts.items() if count >= LEAST_LOSSES]


class _Silence(NamedTuple):
    """`since`: the last answer, or the first question. `questions`: those without an answer since then."""

    since: float
    questions: int


class Silences:
    """For how long hosts have not answered; in the memory of the service."""

    def __init__(self, limit_seconds: float) -> None:
        self._limit_seconds = limit_seconds
        self._hosts: dict[str, _Silence] = {}

    def observe(self, now: float, answering: Collection[str], silent: Collection[str]) -> list[str]:
        """Take the answers of a round at `now`, in seconds; returns the hosts that are silent for too long.

        A host that is not asked is forgotten.
        """
        before = self._hosts
        self._hosts = {host: _Silence(now, 0) for host in answering}
        for host in silent:
            since, questions = before.get(host, _Silence(now, 0))
            self._hosts[host] = _Silence(since, questions + 1)
        return [host for host in sorted(silent) if self._is_long(self._hosts[host], now)]

    def _is_long(self, silence: _Silence, now: float) -> bool:
        return now - silence.since >= self._limit_seconds and silence.questions >= LEAST_SILENCES

    def seconds(self, host: str, now: float) -> float:
        """For how long a host has been silent."""
        return now - self._hosts[host].since

    def begins(self, host: str) -> bool:
        """Whether the last round was the first without an answer."""
        return self._hosts[host].questions == 1


class Pauses:
    """When a host may be tried again: a minute after the first attempt, after each further one twice as long."""

    def __init__(self) -> None:
        self._hosts: dict[str, tuple[int, float]] = {}

    def is_over(self, host: str, now: float) -> bool:
        """Whether the host may be tried at `now`, in seconds."""
        return now >= self._hosts.get(host, (0, now))[1]

    def begin(self, host: str, now: float) -> None:
        """An attempt begins."""
        attempts = self._hosts.get(host, (0, now))[0]
        pause = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2**attempts)
        self._hosts[host] = (min(attempts + 1, 10), now + pause)

    def keep(self, hosts: Collection[str]) -> None:
        """Forget the other hosts: nothing of theirs has failed."""
        self._hosts = {host: pause for host, pause in self._hosts.items() if host in hosts}


def is_cut_off(answering: int, silent: int) -> bool:
    """Whether the frontend itself may be cut off: fewer of the other hosts answer than are silent."""
    return answering < silent
