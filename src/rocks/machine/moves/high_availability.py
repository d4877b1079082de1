"""The service that starts virtual machines elsewhere when their host has failed (decision 167).

It decides nothing about leases: `rocks evacuate host` does, with its locks, fences and audit log. What must outlive
this process is in the leases: a reason of its own, from the moment at which a machine is taken from a host.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple

from rocks.core import process
from rocks.core.clock import monotonic_seconds, wait_seconds
from rocks.core.errors import BusyError, RocksError, StateError
from rocks.core.unit_commands import outside_of_unit
from rocks.fleet.settings import CannotAskError
from rocks.inventory.attributes.records import has_attribute, resolve_attribute
from rocks.inventory.host_loading import load_hosts, physical_hosts
from rocks.inventory.host_records import find_local_host
from rocks.inventory.host_requests import ask_facts, is_silent, open_fleet
from rocks.inventory.machine_locks import lock_vms, unlock_vms
from rocks.inventory.records import TRUE_VALUES
from rocks.machine import records as table
from rocks.machine.leases import records as leases
from rocks.machine.leases.leases import FENCE_ATTRIBUTE
from rocks.machine.leases.plan import MOVING
from rocks.machine.moves.ha_report import watch_lines
from rocks.machine.moves.ha_watch import (
    REASON,
    Losses,
    Pauses,
    Silences,
    is_cut_off,
    lost,
    lost_moves,
    move_is_stuck,
    restart_lines,
    watched,
)
from rocks.trust.secret_records import resolve_secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rocks.database.connection import Database
    from rocks.fleet.wire.facts import HostFacts
    from rocks.inventory.records import Lease
    from rocks.machine.moves.ha_watch import Watched

ATTRIBUTE = "ha"
LOCK = "high availability"
SILENCE_SECONDS = 60.0

_LONGEST_INTERVAL_SECONDS = 10.0
_ROUNDS = 6
"""So many in the time after which a host has failed."""

_ANSWER_SECONDS = 20.0
_COMMAND_SECONDS = 3600.0
"""Starts wait for image storage, which may have to map many images."""


class _Work(NamedTuple):
    """A command that runs, and the machines that it starts."""

    thread: threading.Thread
    names: frozenset[str]


class Supervisor:
    """Asks the hosts of machines with high availability, round by round, and starts commands for those that failed."""

    def __init__(
        self,
        database: Database,
        launcher: str,
        log: Callable[[str], None],
        silence_seconds: float = SILENCE_SECONDS,
    ) -> None:
        """`launcher` is the program `rocks`. StateError when another such service runs."""
        try:
            database.lock(LOCK, 0.0)
        except BusyError:
            raise StateError("the service runs already: systemctl status rocks-ha") from None
        self._database, self._launcher, self._log = database, launcher, log
        self._silence_seconds = silence_seconds
        self._silences, self._pauses, self._losses = Silences(silence_seconds), Pauses(), Losses()
        self._at_work: dict[str, _Work] = {}
        self._warned: set[str] = set()
        self._reported: dict[str, list[str]] | None = None

    def run(self) -> None:
        """Round after round; ends with an error when the database cannot be reached."""
        while True:
            self.look()
            wait_seconds(min(_LONGEST_INTERVAL_SECONDS, self._silence_seconds / _ROUNDS))

    def look(self) -> None:
        """One round. Commits."""
        database = self._database
        self._at_work = {host: work for host, work in self._at_work.items() if work.thread.is_alive()}
        machines = self._machines()
        self._report(machines)
        # answers: what is started is outside of this unit, the question would not be
        own = find_local_host(database)
        asked = [host for host in machines.hosts if host not in self._at_work]
        facts, silent = self._ask([host for host in asked if host != own])
        answering = {*facts, *(host for host in asked if host == own)}
        now = monotonic_seconds()
        due = self._silences.observe(now, answering, silent)
        found_lost = self._lost(machines, facts)
        self._pauses.keep(
            {*silent, *machines.interrupted, *self._at_work, *(one.host or "" for one in found_lost)}
        )
        for host in sorted(silent):
            if self._silences.begins(host) and machines.of_host(host):
                self._warned.discard(host)
                self._log(f"{host} does not answer; it has {_listed(machines.of_host(host))}")
        for host in sorted(answering & set(machines.interrupted)):
            if self._pauses.is_over(host, now):
                names = machines.interrupted[host]
                self._begin(host, names, ["start", "host", "vm", *names])
        lost_again = self._losses.observe(found_lost)
        for host in sorted({one.host for one in lost_again if one.host} - set(self._at_work)):
            if self._pauses.is_over(host, now):
                self._start_again(host, [one for one in lost_again if one.host == host])
        self._report_moves(machines, due)
        due = [host for host in due if machines.of_host(host) and self._pauses.is_over(host, now)]
        if due and self._may_act(due):
            for host in due:
                self._evacuate(host, machines.of_host(host), self._silences.seconds(host, now))
        database.end_reading()

    def _report(self, machines: Watched) -> None:
        """Log the hosts whose machines are others than before, and what would prevent their starts elsewhere."""
        before = self._reported
        self._reported = {host: sorted(names) for host, names in machines.held.items()}
        if before is None and not self._reported:
            self._log(f"no machine with the attribute {ATTRIBUTE} runs on another host")
        new = {host: names for host, names in self._reported.items() if names != (before or {}).get(host)}
        for line in watch_lines(self._database, new) if new else ():
            self._log(line)

    def _report_moves(self, machines: Watched, due: Sequence[str]) -> None:
        """Log the live migrations that have not ended, from or to a host that has failed; each once per failure."""
        found = {
            f"move {host} {name}": (host, name) for host in due for name in machines.moving.get(host, ())
        }
        self._warned -= {key for key in self._warned if key.startswith("move ") and key not in found}
        held = leases.read_leases(self._database, sorted({name for _, name in found.values()}))
        for key, (host, name) in found.items():
            lease = held.get(name.lower())
            if lease is not None and lease.state == MOVING:
                self._warn_once(key, move_is_stuck(lease, host))

    def _machines(self) -> Watched:
        """The machines with high availability, by host; without those of hosts with ha=no, and those at work.

        Of this machine's own only those that the service began to start here.
        """
        database = self._database
        values = resolve_attribute(database, ATTRIBUTE, None) if has_attribute(database, ATTRIBUTE) else {}
        places = table.vm_places(database)
        busy = {name for work in self._at_work.values() for name in work.names}
        names = [name for name in places if values.get(name, "").lower() in TRUE_VALUES and name not in busy]
        found = watched(names, leases.read_leases(database, names), places)
        watched_hosts = {
            name for name in physical_hosts(database) if values.get(name, "yes").lower() in TRUE_VALUES
        }
        for of_host in found:
            for host in set(of_host) - watched_hosts:
                del of_host[host]
        found.held.pop(find_local_host(database) or "", None)
        return found

    def _lost(self, machines: Watched, facts: Mapping[str, HostFacts | None]) -> list[Lease]:
        """The leases of the machines that their answering hosts have lost, also in a live migration."""
        names = [name for host in facts for name in machines.held.get(host, ())]
        held = leases.read_leases(self._database, names).values()
        moving = {name for of_host in machines.moving.values() for name in of_host}
        of_moves = leases.read_leases(self._database, sorted(moving)).values()
        return [
            *(
                one
                for host, answer in facts.items()
                if answer is not None
                for one in lost(host, held, answer)
            ),
            *lost_moves([one for one in of_moves if one.state == MOVING], facts),
        ]

    def _start_again(self, host: str, found: Sequence[Lease]) -> None:
        """Start the machines that a host has lost where they were; a command that works on one of them prevents that.

        The reason in the lease outlives this process, and a start that fails.
        """
        database, names = self._database, [one.name for one in found]
        try:
            busy = lock_vms(database, names, also_moving=True)  # the start ends an interrupted move
            now = leases.read_leases(database, names, lock=True)
            begun = [one for one in found if one.name not in busy and now.get(one.name.lower()) == one]
            for one in begun:
                leases.set_state(
                    database, [one.name], one.state, one.intent, f"{REASON}{host} does not run it any more"
                )
            database.commit()
        finally:
            unlock_vms(database, names)
        if begun:
            names = [one.name for one in begun]
            for line in restart_lines(host, begun):
                self._log(line)
            self._begin(host, names, ["start", "host", "vm", *names])

    def _ask(self, hosts: Sequence[str]) -> tuple[dict[str, HostFacts | None], set[str]]:
        """(host that answers → its facts, silent hosts); None for facts that a fault of the host prevents.

        A host whose agent reports a fault answers, and so does one whose agent does not start, or that refuses the
        login: its machines run on. One that this machine cannot ask, such as without its key, is in neither: it does
        not show either that this machine is not cut off.
        """
        with open_fleet(self._database, hosts) as fleet:
            answers = ask_facts(self._database, fleet, hosts, limit_seconds=_ANSWER_SECONDS)
        facts: dict[str, HostFacts | None] = {}
        silent = set()
        for host, answer in answers.items():
            if is_silent(answer):
                silent.add(host)
            elif not isinstance(answer, CannotAskError):
                facts[host] = None if isinstance(answer, RocksError) else answer
            if isinstance(answer, RocksError) and host not in silent:
                how = (
                    "cannot be asked" if isinstance(answer, CannotAskError) else "answers, but cannot be used"
                )
                self._warn_once(f"fault of {host}", f"{host} {how}: {answer}")
            else:
                self._warned.discard(f"fault of {host}")
        return facts, silent

    def _may_act(self, due: Sequence[str]) -> bool:
        """Whether so many other hosts answer that the fault is not this machine's."""
        database = self._database
        local = find_local_host(database)
        hosts = load_hosts(database, physical_hosts(database))
        others = [one.name for one in hosts if one.is_true("kvm") and one.name != local]
        answering, silent = self._ask(others)
        if is_cut_off(len(answering), len(silent)):
            self._warn_once(
                "cut off",
                f"{len(silent)} of {len(others)} other VM containers do not answer: this machine may be cut off, so "
                f"nothing is taken from {_listed(due)}. If they are off: rocks evacuate host HOST reason=…",
            )
            return False
        self._warned.discard("cut off")
        return True

    def _evacuate(self, host: str, names: Sequence[str], seconds: float) -> None:
        if not resolve_secret(self._database, FENCE_ATTRIBUTE, [host]).get(host):
            self._warn_once(
                host,
                f"{host} does not answer and has no fence command, so {_listed(names)} stays there: rocks set host "
                f"sec_attr {host} {FENCE_ATTRIBUTE}; or, when it is off: rocks evacuate host {host} reason=…",
            )
            return
        self._log(
            f"{host} has not answered for {seconds:.0f} s: it is fenced, and {_listed(names)} starts elsewhere"
        )
        reason = f"reason={REASON}{host} has not answered for {seconds:.0f} s"
        self._begin(
            host, names, ["evacuate", "host", host, reason, "must-fence=yes", f"vm={' '.join(names)}"]
        )

    def _begin(self, host: str, names: Sequence[str], arguments: Sequence[str]) -> None:
        """Run a command in a thread; its output goes to the log."""
        self._pauses.begin(host, monotonic_seconds())

        def work() -> None:
            try:
                ended = process.run(
                    [*outside_of_unit(), self._launcher, *arguments], deadline_seconds=_COMMAND_SECONDS
                )
            except RocksError as error:
                self._log(f"rocks {' '.join(arguments[:3])}: {error}")
                return
            for line in (ended.text + ended.error_text).splitlines():
                self._log(line)

        thread = threading.Thread(target=work, daemon=True)
        self._at_work[host] = _Work(thread, frozenset(names))
        thread.start()

    def _warn_once(self, key: str, text: str) -> None:
        if key not in self._warned:
            self._warned.add(key)
            self._log(text)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
