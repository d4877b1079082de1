"""What needs an operator: machines without a job, nodes without a host or jobs, charges that are late."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from nucleus.mirror.computesets import late_charges, nodes_without_job
from nucleus.mirror.events import NEWS, append_events
from nucleus.mirror.hosts import nodes_without_host, unavailable_nodes
from nucleus.records import NewEvent

if TYPE_CHECKING:
    from nucleus.mirror.pool import Guard, Session

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
