"""Which events follow from what a round has read of a computeset's job and nodes."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from owners.computesets import lifecycle
from owners.computesets.batch import Job
from owners.computesets.lifecycle import Context, Event, Member
from owners.computesets.seen import Seen, facts_of_job, is_absent, job_events, node_events

_NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
_EARLIER, _LATER = _NOW - timedelta(seconds=1), _NOW + timedelta(seconds=1)
_OFF, _ON, _DONE = Member(3, is_free=False), Member(3, is_on=True, is_free=False), Member(3)
_OFF_EVENT, _FREE, _ACTIVE = (Event(kind, node=3) for kind in ("node_off", "image_free", "node_active"))


def node(**values: Any) -> Any:
    """A node that is off, and was stopped just now."""
    found: dict[str, Any] = {
        "id": 3,
        "gone_at": None,
        "state": "nostate",
        "physical_host": "h1",
        "image_state": "unmapped",
    }
    found |= {
        "image_locked": False,
        "last_command_at": _NOW,
        "observed_power": _LATER,
        "observed_image": _LATER,
    }
    return SimpleNamespace(**found | values)


def seen(*nodes: Any, state: str = "running", job: Job | None = None, **values: Any) -> Seen:
    """Of a set of node 3, and the node 4 that nothing is known of."""
    busy, context = values.pop("busy", set()), values.pop("context", Context(()))
    known = {"state": state, "jobid": 7, "node_ids": (3, 4), "waiting": None, "place": None}
    values["context"] = values.pop("stored", {})
    one: Any = SimpleNamespace(**{**known, "estimated_start": None, "walltime_end": None, **values})
    return Seen(one, context, {}, None, {it.id: it for it in nodes}, busy, [], job)


@pytest.mark.parametrize(
    ("member", "found", "events"),
    [
        (_OFF, seen(node(state="active")), [_ACTIVE]),
        (_ON, seen(node(state="active")), []),
        (_OFF, seen(node(state="active"), state="ending", busy={3}), []),  # it is being stopped
        (_OFF, seen(node(state="active"), busy={3}), [_ACTIVE]),
        (_ON, seen(node()), [_OFF_EVENT, _FREE]),
        (_ON, seen(node(), busy={3}), []),
        (_ON, seen(node(state="paused")), []),
        (_OFF, seen(node(state="paused")), []),
        (_ON, seen(node(state="crashed", image_state="mapped")), [_OFF_EVENT]),
        *[
            (member, seen(node(state=state, image_state="mapped"), state="ending"), events)
            for state in ("paused", "crashed")  # which the end of the set powers off
            for member, events in ((_OFF, [_ACTIVE]), (_ON, []))
        ],
        (_DONE, seen(node()), []),
        (_ON, seen(node(image_state="pulling")), [_OFF_EVENT]),
        (_OFF, seen(node(image_locked=True)), []),
        (_ON, seen(node(gone_at=_NOW)), [_OFF_EVENT, _FREE]),
        (_OFF, seen(), [_FREE]),  # it was removed from the site
        (_DONE, seen(), []),
        (_ON, seen(node(state="nostate-error", physical_host=None)), []),  # its host does not answer
        (_OFF, seen(node(observed_power=_EARLIER)), []),
        (_OFF, seen(node(observed_image=_EARLIER)), []),
        (_OFF, seen(node(observed_image=None)), []),
        (_OFF, seen(node(last_command_at=None, observed_power=_EARLIER, observed_image=_EARLIER)), [_FREE]),
    ],
)
def test_what_happened_to_a_node(member: Member, found: Seen, events: list[Event]) -> None:
    """Its image is free when power and image were listed after its last command."""
    assert node_events(member, found) == events


_RUNS, _WAITS, _ENDED = (Job(7, "j", state, hosts=("h1", "h2")) for state in ("running", "pending", "ended"))
_KNOWN = Context((), jobid=7, hosts=("h1", "h2"))


@pytest.mark.parametrize(
    ("found", "events"),
    [
        (seen(), []),
        (seen(job=_RUNS._replace(state="unknown"), state="created"), []),
        (seen(job=_WAITS, state="created"), [Event("submit_ok", jobid=7)]),
        (seen(job=_WAITS, state="submitted", jobid=None), [Event("submit_ok", jobid=7)]),
        (seen(job=_WAITS, state="submitted"), []),
        (seen(job=_RUNS, context=_KNOWN), []),
        (
            seen(job=_RUNS._replace(hosts=("h2",)), context=_KNOWN),
            [Event("hosts_lost", jobid=7, lost=("h1",))],
        ),
        (
            seen(node(), job=_RUNS, state="submitted"),
            [Event("allocated", jobid=7, hosts=((3, "h1"), (4, "h2")))],
        ),
        (  # an operator has paired them
            seen(node(), job=_RUNS, state="submitted", stored={"requested": ["h2", "h1"]}),
            [Event("allocated", jobid=7, hosts=((3, "h2"), (4, "h1")))],
        ),
        (  # other hosts than the operator asked for
            seen(node(), job=_RUNS, state="submitted", stored={"requested": ["h2", "h3"]}),
            [Event("allocated", jobid=7, hosts=((3, "h1"), (4, "h2")))],
        ),
        (seen(job=_RUNS, state="ending"), []),
        (seen(job=_WAITS), [Event("allocated", jobid=7)]),
        (seen(job=_ENDED), [Event("job_gone", how=lifecycle.LOST)]),
        (seen(job=_ENDED._replace(reason="timeout")), [Event("job_gone", how="timeout")]),
        (seen(job=_ENDED, context=Context((), job_gone=True)), []),
    ],
)
def test_what_happened_to_a_job(found: Seen, events: list[Event]) -> None:
    assert job_events(found) == events


def test_a_job_is_absent_only_where_one_may_be() -> None:
    issued, gone = Context((), is_issued=True), Context((), job_gone=True)
    taken_back = issued._replace(is_cancelled=True)
    assert [
        is_absent(one)
        for one in (
            seen(),
            seen(job=_RUNS),
            seen(context=gone),
            seen(jobid=None, context=issued),
            seen(jobid=None, state="ending", context=issued),
            seen(jobid=None, state="ending"),
            seen(jobid=None, state="created", context=issued),
            seen(jobid=None, state="created", context=taken_back),
        )
    ] == [True, False, False, False, True, False, False, True]


def test_owners_see_why_a_job_waits_until_it_runs() -> None:
    """Only what has changed."""
    job = _WAITS._replace(waiting="too few hosts", place=2, starts_at=0.6)
    first = datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
    waits = {"waiting": "too few hosts", "place": 2, "estimated_start": first}
    assert facts_of_job(seen(job=job, state="submitted"), "submitted", {}) == waits
    later = seen(job=job._replace(place=1), state="submitted", **waits)
    assert facts_of_job(later, "submitted", {}) == {"place": 1}
    notes = {lifecycle.WALLTIME: {"at": 1}}
    assert facts_of_job(later, "running", notes) == {**dict.fromkeys(waits), "walltime_end": first}
    assert facts_of_job(seen(job=_RUNS), "submitted", notes) == {}
