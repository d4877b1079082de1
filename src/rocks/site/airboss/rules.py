"""Rules of the owners' remote control: the time of a request, the machines of a cluster, how much at once. Pure."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from rocks.core.errors import StateError, UserError
from rocks.core.names import printable
from rocks.inventory.mac_pool import mac_number

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

Refused = TypeVar("Refused")

WINDOW_SECONDS = 120
"""How far the time of a request may be from the frontend's."""

HOUR_SECONDS = 3600
QUIET_SECONDS = HOUR_SECONDS + 2 * WINDOW_SECONDS
"""How long after a request nobody can have another one of the same hour, by a clock that is not set."""

REFUSALS_SECONDS = 60.0
"""A key's refused requests of that time are one entry of the audit log."""

LEAST_RSA_BITS = 3072
LEAST_STORED_RSA_BITS = 2048
"""Shorter keys are not even stored, unless the site allows those of old Rocks, which made 1024 bits."""
OLD_RSA_ATTRIBUTE = "airboss_old_rsa"


IMAGES_ATTRIBUTE = "airboss_images"
"""ISOs of the library, separated by commas, that owners of a cluster may insert."""


class ClusterMachine(NamedTuple):
    """A machine of a cluster: name, MAC addresses (first that on the cluster's VLAN), aliases."""

    name: str
    macs: tuple[str, ...]
    aliases: tuple[str, ...] = ()


def check_time(stated: int, now: int) -> None:
    """UserError for a request from too long ago, or from the future."""
    difference = stated - now
    if abs(difference) > WINDOW_SECONDS:
        raise UserError(
            f"the clock of this machine is {abs(difference)} seconds {'fast' if difference > 0 else 'slow'}, "
            f"at most {WINDOW_SECONDS} are accepted; set it: chronyc makestep"
        )


def check_hour(hour: int, is_past: bool) -> None:
    """UserError for a request of an hour (since 1970) whose accepted requests are forgotten."""
    if is_past:
        until = datetime.fromtimestamp((hour + 1) * HOUR_SECONDS, UTC)
        raise UserError(
            "the frontend's clock was set back, to an hour whose requests it no longer knows; repeat the command after "
            f"{until:%Y-%m-%d %H:%M} UTC of its clock"
        )


def check_rsa_bits(bits: int, old_allowed: bool) -> None:
    """UserError for an RSA key that is short by today's measure, unless the site allows those of old Rocks."""
    if bits < LEAST_RSA_BITS and not old_allowed:
        raise UserError(
            f"this RSA key has {bits} bits, at least {LEAST_RSA_BITS} are needed; make another (rocks create keys), or "
            f"ask the site's operators for the attribute {OLD_RSA_ATTRIBUTE}"
        )


def check_stored_rsa(host: str, bits: int, old_allowed: bool) -> str | None:
    """A warning for an RSA key of a host that is short by today's measure. UserError for one that is not stored."""
    if bits >= LEAST_RSA_BITS:
        return None
    consent = f"rocks set host attr {host} {OLD_RSA_ATTRIBUTE} true"
    if bits < LEAST_STORED_RSA_BITS and not old_allowed:
        raise UserError(
            f"this RSA key has {bits} bits, at least {LEAST_STORED_RSA_BITS} are needed: rocks create keys makes "
            f"another, {consent} allows it"
        )
    remedy = "let the owner make another: rocks create keys" + ("" if old_allowed else f"; or {consent}")
    accepted = "may be broken in some years" if old_allowed else "no request of it is accepted"
    return f"this RSA key has {bits} bits, less than {LEAST_RSA_BITS}: {accepted}; {remedy}"


def find_machines(requested: Sequence[str], machines: Iterable[ClusterMachine]) -> list[str]:
    """Names of the machines that names, aliases or MAC addresses mean, each once, in the order of `requested`.

    UserError, with the same text for a machine of another cluster and for one that does not exist.
    """
    known: dict[str, str] = {}
    for machine in machines:
        for mac in machine.macs:
            known.setdefault(_form(mac), machine.name)
        for alias in machine.aliases:
            known.setdefault(alias.lower(), machine.name)
        known[machine.name.lower()] = machine.name
    found = [known.get(_form(text)) for text in requested]
    for text, name in zip(requested, found, strict=True):
        if name is None:
            raise UserError(f"the cluster has no machine {printable(text)}; list host macs shows all")
    return list(dict.fromkeys(name for name in found if name is not None))


def machines_of_cluster(cluster: str, named: Sequence[str], machines: Iterable[ClusterMachine]) -> list[str]:
    """Names of the machines that are switched together: all but the frontend `cluster`, which may be `named` besides.

    UserError for a cluster without any.
    """
    computes = [machine.name for machine in machines if machine.name.lower() != cluster.lower()]
    found = list(dict.fromkeys((*computes, *named)))
    if not found:
        raise UserError(
            f"the cluster {cluster} has no machine but its frontend; with its frontend: with-frontend=yes"
        )
    return found


def given_image(cluster: str, requested: str, given: str) -> str:
    """The name of the ISO that an owner requests, of those that the site gives the cluster (separated by commas).

    UserError, with the same text for an image that is not given and for one that does not exist.
    """
    names = {name.strip().lower(): name.strip() for name in given.split(",") if name.strip()}
    found = names.get(requested.lower())
    if found is None:
        known = f"it has {', '.join(sorted(names.values()))}" if names else "the site has given it none"
        raise UserError(
            f"the cluster {cluster} has no image {printable(requested)} for its drives: {known}; "
            "ask the site's operators for another"
        )
    return found


def shortened(hosts: Sequence[str]) -> tuple[str, ...]:
    """The machines of a refused request for its entry in the audit log; the request may have any text and number."""
    more = len(hosts) - 3
    return (*map(printable, hosts[:3]), *([f"and {more} more"] if more > 0 else []))


def _form(text: str) -> str:
    """One form for all spellings of a MAC address. A blank is in no name."""
    number = mac_number(text)
    return text.lower() if number is None else f"mac {number}"


class Rates:
    """How often each key may act: `burst` times at once, then `per_second`. Remembers at most `most` keys.

    A key that has one left may take many at once: it then waits until all of them have come back.
    """

    def __init__(self, per_second: float, burst: int, most: int = 10000) -> None:
        self._per_second, self._burst, self._most = per_second, burst, most
        self._tokens: dict[str, tuple[float, float]] = {}

    def take(self, key: str, now: float, count: int = 1) -> bool:
        """Whether the key may act now, which counts for so many; `now` in seconds of a clock that does not jump."""
        tokens, since = self._tokens.pop(key, (float(self._burst), now))
        tokens = min(float(self._burst), tokens + (now - since) * self._per_second)
        is_allowed = tokens >= 1.0
        if len(self._tokens) >= self._most:  # the one that has waited longest
            del self._tokens[next(iter(self._tokens))]
        self._tokens[key] = (tokens - count if is_allowed else tokens, now)
        return is_allowed

    def charge(self, key: str, now: float, count: int) -> None:
        """Have what the key did count for so many more."""
        tokens, since = self._tokens.get(key, (float(self._burst), now))
        self._tokens[key] = (tokens - count, since)


class Hours:
    """Which hours of requests are past: those whose number of requests has not grown for `QUIET_SECONDS`.

    The time is that of a clock that is never set: whatever the time of day does, no hour is past because of it.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[int, float]] = {}

    def past(self, counts: Mapping[int, int], now: float) -> list[int]:
        """The hours that are past. `counts` is hour → number of its requests; `now` in seconds."""
        for hour, count in counts.items():
            if self._known.get(hour, (-1, now))[0] != count:
                self._known[hour] = (count, now)
        self._known = {hour: known for hour, known in self._known.items() if hour in counts}
        return [hour for hour, (_, since) in self._known.items() if now - since >= QUIET_SECONDS]


class Refusals(Generic[Refused]):
    """Refused requests of each key: the first is recorded at once, later ones by their number, once a minute."""

    def __init__(self) -> None:
        self._counted: dict[str, tuple[float, int, Refused]] = {}

    def is_first(self, key: str, refused: Refused, now: float) -> bool:
        """Whether the request is to be recorded now; else it is counted. `now` of a clock that is never set."""
        if key not in self._counted:
            self._counted[key] = (now, 0, refused)
            return True
        since, count, _ = self._counted[key]
        self._counted[key] = (since, count + 1, refused)
        return False

    def take_due(self, now: float) -> list[tuple[int, Refused]]:
        """(number, the last one) of each key whose minute is over, and which had more than the recorded one."""
        due = {key: one for key, one in self._counted.items() if now - one[0] >= REFUSALS_SECONDS}
        for key, (_, count, refused) in due.items():
            del self._counted[key]
            if count:
                self._counted[key] = (now, 0, refused)
        return [(count, refused) for _, count, refused in due.values() if count]

    def __bool__(self) -> bool:
        """Whether a minute of some key has begun."""
        return bool(self._counted)


class Shares:
    """How much each cluster has of something bounded: `of_each` for one, `of_all` together."""

    def __init__(self, of_each: int, of_all: int, what: str) -> None:
        self._of_each, self._of_all, self._what = of_each, of_all, what
        self._held: dict[str, int] = {}
        self._lock = threading.Lock()

    @contextmanager
    def held(self, cluster: str) -> Iterator[None]:
        """One more for the cluster, until the end. StateError when it has all of its own, or nothing is left."""
        with self._lock:
            held = self._held.get(cluster, 0)
            if held >= self._of_each:
                raise StateError(
                    f"the cluster has {held} {self._what}, no more are allowed at once; wait for one to end"
                )
            if sum(self._held.values()) >= self._of_all:
                raise StateError(f"the site has no more {self._what} now; try again in a minute")
            self._held[cluster] = held + 1
        try:
            yield
        finally:
            with self._lock:
                self._held[cluster] -= 1
                if not self._held[cluster]:
                    del self._held[cluster]
