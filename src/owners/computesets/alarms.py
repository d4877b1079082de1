"""What the controller looks at besides single computesets, now and then: what needs an operator, what was charged."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from comet.client.hostlists import collect_hostlist
from nucleus.mirror import identity
from nucleus.mirror.events import NEWS, append_events
from nucleus.mirror.observations import SCHEDULER, database_now, read_sources, record_source
from nucleus.mirror.pool import logged
from nucleus.parts import Alarm
from nucleus.records import Account, NewEvent
from nucleus.states import SCHEDULER_AWAY, is_ending
from owners.computesets import lifecycle
from owners.computesets import records as computesets
from owners.computesets.batch import nodes_without_host, recent_jobs, unavailable_nodes
from owners.computesets.records import late_charges, late_sets, nodes_without_job, uncharged_sets
from rocks.core.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from nucleus.configuration import Configuration
    from nucleus.mirror.observations import SourceState
    from nucleus.mirror.pool import Guard, Session
    from nucleus.operations.timers import Clock
    from owners.computesets.batch import Batch
    from owners.computesets.records import Computeset, NodeWithoutJob


_LOG = logging.getLogger(__name__)

_AWAY_SECONDS = 20.0
"""How long Slurm may not answer before owners read so: a restart of it takes less."""


def check_kind(session: Session, kind: str) -> None:
    """StateError while computesets wait, run, or have a node or an image, as jobs of the other kind of batch system.

    This one does not know those jobs: it would count their hosts as free. One whose number is not stored yet counts,
    too. One that ends without anything on its hosts does not: a Slurm that is gone for ever would keep it.
    """
    other = "hosts" if kind == "slurm" else "slurm"
    of_list = {job.name for job in recent_jobs(session)}
    left = [
        str(one.id)
        for one in computesets.living_sets(session)
        if _kind_of(one, of_list) == other and not _is_off(one)
    ]
    if left:
        raise StateError(
            f'the settings have kind = "{kind}" in [batch], but computesets that have not ended ({", ".join(left)})'
            f' got their jobs with kind = "{other}"; set that again, and change it when they have ended (to end one:'
            f" comet terminate {left[0]})"
        )


def _kind_of(one: Computeset, of_list: Collection[str]) -> str | None:
    """The kind of batch system that may have the set's job; None: none has."""
    if "batch" in one.context:
        return str(one.context["batch"])
    if one.jobid is None:
        return None
    return "hosts" if one.name in of_list else "slurm"  # an earlier version has submitted it


def _is_off(one: Computeset) -> bool:
    members = lifecycle.from_json_object(one.context, one.node_ids).members
    return is_ending(one.state, one.cancel_requested) and all(
        member.is_free and not member.is_on for member in members
    )


class Scheduler:
    """Whether Slurm answers: when that changes, and now and then, a source of the mirror has it for operators.

    A list of hosts always answers.
    """

    def __init__(self, configuration: Configuration, guard: Guard, clock: Clock) -> None:
        self._is_slurm = configuration.batch.kind == "slurm"
        self._every_seconds = configuration.computesets.reconcile_seconds
        self._guard, self._clock = guard, clock
        self._noted: tuple[bool | None, float] = None, 0.0
        self._away_since: float | None = None

    def answered(self, began: float, count: int) -> None:
        """The scheduler has answered a question of that moment with so many jobs."""
        self._away_since = None
        self._note(began, count, None)

    def failed(self, began: float, error: str) -> str:
        """The scheduler has not answered. Returns what owners of waiting sets read; empty in the first seconds."""
        self._away_since = began if self._away_since is None else self._away_since
        self._note(began, 0, error)
        return SCHEDULER_AWAY if self._clock.since_boot() >= self._away_since + _AWAY_SECONDS else ""

    def _note(self, began: float, count: int, error: str | None) -> None:
        now, answers = self._clock.since_boot(), error is None
        is_due = self._is_slurm and now >= self._noted[1] + self._every_seconds
        if self._noted[0] is answers and not is_due:
            return
        with logged("scheduler"):
            with self._guard.transaction() as session:
                if self._is_slurm:
                    record_source(session, SCHEDULER, now - began, database_now(session), count, error)
                else:  # of a time when the settings named Slurm: nothing asks it any more
                    session.delete("source", name=SCHEDULER)
            self._noted = answers, now


def store_charges(guard: Guard, batch: Batch) -> None:
    """Store the charges of sets, and limit and use of each allocation, as far as they are known.

    Nucleus does not count them again. HostError while the batch system does not answer: what is stored stays.
    """
    with guard.transaction() as session:
        has_ended = uncharged_sets(session)
        allocations = [name for name, _ in identity.list_allocations(session)]
    charges = batch.charges(has_ended) if has_ended else {}
    accounts = batch.accounts(allocations) if allocations else {}
    with guard.transaction() as session:
        changed: dict[str, int | None]
        for name, charge in charges.items():
            if not has_ended[name]:
                changed = {"charged_so_far_seconds": charge.seconds}
            elif charge.is_final:
                changed = {"charged_seconds": charge.seconds, "charged_so_far_seconds": None}
            else:  # of a job that slurmctld has forgotten it grows for ever
                continue
            session.update("computeset", changed, name=name)
        for name in allocations:
            minutes = (
                accounts[name.lower()]._asdict()
                if name.lower() in accounts
                else dict.fromkeys(Account._fields)
            )
            session.update("allocation", minutes, name=name)


# What needs an operator: machines without a job, nodes without a host or jobs, charges that are late.


class Alarms:
    """Machines without a job, nodes that are no hosts or get no jobs, late charges: each with an event at both ends."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._alarms: dict[int | str, NewEvent] = {}

    def check(self) -> None:
        """Compare what is wrong now with what was wrong before."""
        with self._guard.transaction() as session:
            alarms = _alarms(session)
            begun = [alarm for key, alarm in alarms.items() if key not in self._alarms]
            ended = [alarm for key, alarm in self._alarms.items() if key not in alarms]
            append_events(session, [*begun, *(one._replace(old=one.new, new=None) for one in ended)])
        self._alarms = alarms
        for event in begun:
            _LOG.error("%s: %s", event.target, event.new)
        if begun or ended:
            NEWS.give()


def _alarms(session: Session) -> dict[int | str, NewEvent]:
    found: dict[int | str, NewEvent] = {}
    for node in nodes_without_job(session):  # it is reported only: who started it may have had a reason
        found[node.id] = NewEvent(
            "alarm", node.target, None, "vm-on-without-job", node.project_id, node.cluster_id
        )
    for name in nodes_without_host(session):
        found[name] = NewEvent("alarm", name, None, "node-without-host")
    for name, _ in unavailable_nodes(session):
        found[f"node {name}"] = NewEvent("alarm", name, None, "node-unavailable")
    for number in late_charges(session):
        found[f"computeset {number}"] = NewEvent("alarm", str(number), None, "computeset-without-charge")
    return found


def alarms(session: Session) -> list[Alarm]:
    """What `nucleus status` and the metrics have."""
    nodes, late, uncharged = nodes_without_job(session), late_sets(session), late_charges(session)
    strays, unavailable = nodes_without_host(session), unavailable_nodes(session)
    away = [one for one in read_sources(session) if one.name == SCHEDULER and one.failures]
    return [
        Alarm("", len(away), lambda _: [_line_of_scheduler(one) for one in away]),
        Alarm("vm-on-without-job", len(nodes), lambda _: [_line_of_node(node) for node in nodes]),
        Alarm(
            "image-sync-timeout",
            len(late),
            lambda _: [
                f"the images of computeset {number} are not written back in time; rocks list host storagemap"
                for number in late
            ],
        ),
        Alarm("computeset-without-charge", len(uncharged), lambda _: [_line_of_charges(uncharged)]),
        Alarm("node-without-host", len(strays), lambda it: [_line_of_strays(it.batch.partition, strays)]),
        Alarm("node-unavailable", len(unavailable), lambda _: [_line_of_unavailable(unavailable)]),
    ]


def _line_of_scheduler(source: SourceState) -> str:
    return (
        "Slurm does not answer; computesets that run go on, no other begins: run `scontrol ping`"
        f" ({source.last_error})"
    )


def _line_of_node(node: NodeWithoutJob) -> str:
    where = (
        "in no computeset; its owner may have it stopped"
        if node.computeset is None
        else f"computeset {node.computeset} does not have that host"
    )
    move = f"move it back (rocks move host vm {node.rocks_name}), or " if node.is_running else ""
    return f"{node.target} is on, on {node.host}, and {where}: {move}rocks stop host vm {node.rocks_name}"


def _line_of_charges(uncharged: Sequence[int]) -> str:
    return (
        "an hour after their end, Slurm's accounting has no end of the computesets"
        f" {', '.join(map(str, uncharged))}: sacctmgr show runawayjobs ends jobs that slurmctld has forgotten"
    )


def _line_of_strays(partition: str, strays: Sequence[str]) -> str:
    return (
        f"Slurm has nodes in the partition {partition} that are no hosts of the cluster,"
        f" and computesets leave them out: {collect_hostlist(strays)}; take them out of the partition,"
        " or rocks add host"
    )


def _line_of_unavailable(unavailable: Sequence[tuple[str, str]]) -> str:
    by_reason = {
        why: collect_hostlist([name for name, one in unavailable if one == why])
        for why in dict.fromkeys(why for _, why in unavailable)
    }
    return (
        f"Slurm gives no jobs to {', '.join(f'{names} ({why})' for why, names in by_reason.items())}:"
        " run `sinfo -R`; when a host is in order, `scontrol update nodename=HOST state=resume`"
    )
