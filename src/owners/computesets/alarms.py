"""What needs an operator: machines without a job, nodes without a host or jobs, charges that are late."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from comet.client.hostlists import collect_hostlist
from nucleus.mirror.events import NEWS, append_events
from nucleus.mirror.observations import SCHEDULER, read_sources
from nucleus.parts import Alarm
from nucleus.records import NewEvent
from owners.computesets.hosts import nodes_without_host, unavailable_nodes
from owners.computesets.records import late_charges, late_sets, nodes_without_job

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nucleus.mirror.observations import SourceState
    from nucleus.mirror.pool import Guard, Session
    from owners.computesets.records import NodeWithoutJob

_LOG = logging.getLogger(__name__)


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
