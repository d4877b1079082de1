"""What an operator must look at besides single computesets: machines in none, and nodes that are no hosts."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from nucleus.computesets import machine
from nucleus.computesets.machine import Context, Event
from nucleus.mirror.computesets import nodes_without_set
from nucleus.mirror.events import NEWS, append_events
from nucleus.mirror.hosts import nodes_without_host
from nucleus.records import NewEvent
from nucleus.states import COMPLETED

if TYPE_CHECKING:
    from nucleus.mirror.pool import Guard, Session

_LOG = logging.getLogger(__name__)


class Alarms:
    """Each begins and ends with an event."""

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
    for node in nodes_without_set(session):  # it is reported only: who started it may have had a reason
        _, _, actions = machine.step(COMPLETED, Context(()), Event("node_active", node=node.id))
        (alarm,) = [action.text for action in actions if action.kind == "alarm"]
        found[node.id] = NewEvent("alarm", node.target, None, alarm, node.project_id, node.cluster_id)
    for name in nodes_without_host(session):
        found[name] = NewEvent("alarm", name, None, "node-without-host")
    return found
