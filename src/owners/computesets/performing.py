"""Performs what a step has decided, in the transaction that stores it: operations of nodes, and events for watchers."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

from nucleus.mirror import clusters, operations
from nucleus.mirror.events import append_events
from nucleus.records import JsonObject, NewEvent, NewOperation
from nucleus.states import CANCELLED, ENDED_SETS, QUEUED, RUNNING, outcome_of
from owners.computesets import lifecycle
from owners.computesets import records as computesets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nucleus.mirror.pool import Session
    from owners.computesets.lifecycle import Action, Context
    from owners.computesets.seen import Seen

_LOG = logging.getLogger(__name__)
_ACTOR = "nucleus"
STARTS = "start_member"
"""The kind of operation that starts a node of a set."""

_SHUTDOWNS, _POWER_OFFS = "shutdown_member", "poweroff_member"
_OWNERS = ("poweron", "poweroff", "shutdown", "reset", "reboot", "attach_iso")
"""Kinds of operations that owners ask for: the end of a set does not wait for those that are queued."""

_KINDS = {"start": STARTS, "shutdown": _SHUTDOWNS, "poweroff": _POWER_OFFS}


def perform_actions(
    session: Session,
    seen: Seen,
    state: str,
    context: Context,
    actions: Sequence[Action],
    grace_seconds: float,
) -> None:
    """Perform the actions, end the operations `start_set` and `end_set` that the step completes, and store events."""
    one, events = seen.one, _perform(session, seen, actions, grace_seconds)
    is_ready = any(action.kind == "ready" for action in actions)
    if is_ready:
        events += _end(session, seen, "start_set", None)
    if context.is_degraded and not seen.context.is_degraded:
        given_up = sum(member.has_given_up for member in context.members)
        detail = f"{given_up} of {len(context.members)} nodes did not start, or lost their hosts"
        events += _end(session, seen, "start_set", {"code": "host", "detail": detail})
    if state in ENDED_SETS:
        if context.reason == lifecycle.USER:
            problem = {"code": CANCELLED, "detail": f"the computeset {one.id} was ended by its owner"}
        else:
            problem = {"code": "state", "detail": f"the computeset {one.id} is {state}: {context.reason}"}
        events += _end(session, seen, "start_set", problem)
        events += _end(session, seen, "end_set", None)
    clusters.bump_generation(session, [one.cluster_id])
    if state != one.state:
        events.append(seen.event("set.state", str(one.id), one.state, state))
    if is_ready:
        events.append(seen.event("set.ready", str(one.id), None, None))
    append_events(session, events)


def _perform(session: Session, seen: Seen, actions: Sequence[Action], grace_seconds: float) -> list[NewEvent]:
    one, kinds, events = seen.one, {action.kind for action in actions}, list[NewEvent]()
    cancelled = {"code": CANCELLED, "detail": f"the computeset {one.id} ends"}
    if kinds & {"shutdown", "poweroff"}:
        events += _end(session, seen, STARTS, cancelled, [QUEUED])
        members = [member.id for member in seen.context.members]
        ended = operations.end_queued_operations(session, members, _OWNERS, cancelled)
        events += _ended(seen, ended, cancelled)
    if "poweroff" in kinds:
        events += _end(session, seen, _SHUTDOWNS, cancelled, [QUEUED])
    # a further one, at each end of the grace, would keep the node busy, and the set from ending, for ever
    in_work = operations.nodes_in_work(session, one.id, _POWER_OFFS)
    for index, action in enumerate(actions):
        if action.kind == "poweroff" and action.node in in_work:
            continue
        if action.kind in _KINDS:
            new = NewOperation(
                _KINDS[action.kind], _ACTOR, one.cluster_id, action.node, one.id,
                project_id=seen.project_id, arguments=_arguments(action, grace_seconds),
                delay_seconds=action.delay_seconds, unique_key=f"set/{one.id}/{one.version}/{index}",
            )  # fmt: skip
            operations.insert_operation(session, new)
        elif action.kind == "release":
            computesets.release_nodes(session, one.id)
        elif action.kind == "alarm":
            _LOG.error("computeset %d: %s", one.id, action.text)
            events.append(seen.event("alarm", str(one.id), None, action.text))
    return events


def _arguments(action: Action, grace_seconds: float) -> JsonObject:
    if action.kind == "shutdown":
        return {"seconds": math.ceil(grace_seconds)}
    return {"host": action.host} if action.host else {}


def _end(
    session: Session,
    seen: Seen,
    kind: str,
    problem: JsonObject | None,
    states: Sequence[str] = (QUEUED, RUNNING),
) -> list[NewEvent]:
    """End the set's operations of a kind; the events of that."""
    ended = operations.end_set_operations(session, seen.one.id, kind, problem, states)
    return _ended(seen, ended, problem)


def _ended(seen: Seen, ended: Sequence[tuple[str, str]], problem: JsonObject | None) -> list[NewEvent]:
    new = outcome_of(problem)
    return [seen.event("operation.state", name, old, new, name) for name, old in ended]
