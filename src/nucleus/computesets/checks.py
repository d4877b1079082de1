"""What the controller looks at besides single computesets, now and then: what needs an operator, what was charged."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from nucleus.mirror import identity
from nucleus.mirror.computesets import late_charges, nodes_without_job, uncharged_sets
from nucleus.mirror.events import NEWS, append_events
from nucleus.mirror.hosts import nodes_without_host
from nucleus.records import Account, NewEvent

if TYPE_CHECKING:
    from nucleus.backends.batch import Batch
    from nucleus.mirror.pool import Guard, Session

_LOG = logging.getLogger(__name__)


class Alarms:
    """Machines without a job, nodes that are no hosts, charges that are late: each begins and ends with an event."""

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
    for number in late_charges(session):
        found[f"computeset {number}"] = NewEvent("alarm", str(number), None, "computeset-without-charge")
    return found


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
