"""The table of a computeset's life, and the events that a round sees."""

from __future__ import annotations

import functools
import itertools
import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from nucleus.states import (
    CANCELLED,
    COMPLETED,
    CREATED,
    ENDED_SETS,
    ENDING,
    FAILED,
    LIVING_SETS,
    RUNNING,
    SUBMITTED,
)
from owners.computesets import lifecycle
from owners.computesets.batch import Job
from owners.computesets.lifecycle import (
    TABLE,
    Action,
    Context,
    Event,
    Member,
    Seen,
    facts_of_job,
    from_json_object,
    is_absent,
    job_events,
    node_events,
    placed,
    step,
    to_json_object,
)

_HOSTS = ((1, "h0"), (2, "h1"))
_EVENTS = [
    Event("submit_ok", jobid=7),
    Event("submit_reject", reason="no"),
    Event("allocated", jobid=7, hosts=_HOSTS),
    Event("cancel", stop="shutdown"),
    Event("cancel", stop="poweroff"),
    Event("walltime"),
    Event("warning"),
    Event("job_gone", reason="lost"),
    Event("job_absent"),
    Event("hosts_lost", jobid=7, lost=("h0",)),
    Event("allocated", jobid=7),
    Event("nodes_gone"),
    *(
        Event(kind, node=node)
        for kind in ("node_active", "start_failed", "node_off", "image_free")
        for node in (1, 2)
    ),
    Event("grace_timeout"),
    Event("sync_timeout"),
]
_FIRST = Context((Member(1), Member(2)), is_issued=True)
_STATES = (*LIVING_SETS, *ENDED_SETS)
_RANK = {state: min(rank, 4) for rank, state in enumerate(_STATES)}


def _run(
    events: list[Event], state: str = CREATED, context: Context = _FIRST
) -> tuple[str, Context, list[Action]]:
    actions: list[Action] = []
    for event in events:
        state, context, more = step(state, context, event)
        actions += more
    return state, context, actions


@functools.cache
def _reachable() -> dict[tuple[str, Context], list[Event]]:
    """Every state that can be reached, with a way to it; failed starts are counted to 3 of one node only."""
    found: dict[tuple[str, Context], list[Event]] = {(CREATED, _FIRST): []}
    todo = [(CREATED, _FIRST)]
    while todo:
        state, context = todo.pop()
        for event in _EVENTS:
            after = step(state, context, event)[:2]
            if after not in found:
                found[after] = [*found[state, context], event]
                todo.append(after)
    return found


@pytest.mark.slow
def test_the_enumeration_is_worth_its_name() -> None:
    assert 300 < len(_reachable()) < 40000
    assert {state for state, _ in _reachable()} == set(_STATES)


@pytest.mark.slow
def test_states_never_go_back_and_terminal_ones_are_never_left() -> None:
    for (state, context), event in itertools.product(_reachable(), _EVENTS):
        after, _, actions = step(state, context, event)
        assert _RANK[after] >= _RANK[state], (state, event)
        if state in ENDED_SETS:
            assert after == state and not any(action.kind in ("start", "release") for action in actions)


@pytest.mark.slow
def test_nothing_is_started_after_a_cancel_and_nodes_are_released_at_the_end_only() -> None:
    for (state, context), event in itertools.product(_reachable(), _EVENTS):
        after, changed, actions = step(state, context, event)
        if context.is_cancelled or state == ENDING:
            assert not any(action.kind == "start" for action in actions), (state, event)
        released = any(action.kind == "release" for action in actions)
        assert released == (after in ENDED_SETS and state not in ENDED_SETS), (state, event)
        if released and context.hosts:
            assert not any(member.is_on or not member.is_free for member in changed.members), (state, event)


@pytest.mark.slow
def test_an_event_twice_is_an_event_once() -> None:
    for (state, context), event in itertools.product(_reachable(), _EVENTS):
        if event.kind != "start_failed":
            once = step(state, context, event)[:2]
            assert step(*once, event)[:2] == once, (state, event)


@pytest.mark.slow
def test_every_state_has_an_exit() -> None:
    """The job's end, the timers, and nodes that are off: no event of a person is needed."""
    rest = [
        *(Event(kind, node=node) for node in (1, 2) for kind in ("node_off", "image_free")),
        *[Event("job_gone", reason="lost"), Event("submit_ok", jobid=8)] * 3,
        Event("job_gone", reason="lost"),
        *(Event(kind, node=node) for node in (1, 2) for kind in ("node_off", "image_free")),
    ]
    for state, context in _reachable():
        assert _run(rest, state, context)[0] in ENDED_SETS, (state, context)


_SOURCES = {
    "api": [Event("cancel", stop="shutdown")],
    "submit": [Event("submit_ok", jobid=7)],
    "job": [Event("allocated", jobid=7, hosts=_HOSTS)],
    "poller": [Event("node_active", node=1)],
}
_AFTERWARDS = [
    *(Event("node_off", node=node) for node in (1, 2)),
    *(Event("image_free", node=node) for node in (1, 2)),
    Event("job_gone", reason="lost"),
]


def test_neighbours_of_different_sources_may_change_places() -> None:
    for present in itertools.chain.from_iterable(itertools.combinations(_SOURCES, n) for n in range(1, 5)):
        ends = {
            _run([*(_SOURCES[one][0] for one in order), *_AFTERWARDS])[0]
            for order in itertools.permutations(present)
        }
        assert len(ends) == 1, present
        if "api" in present:
            assert ends == {CANCELLED}


def test_a_late_answer_never_takes_a_running_set_back() -> None:
    state, context, actions = _run([_EVENTS[2], _EVENTS[0]])
    assert (state, context.jobid) == (RUNNING, 7)
    assert [(one.node, one.host) for one in actions if one.kind == "start"] == list(_HOSTS)


def test_a_cancel_before_the_job_is_known_reaches_the_job() -> None:
    for late, after in ((_EVENTS[0], SUBMITTED), (_EVENTS[2], ENDING)):
        state, context, actions = _run([Event("cancel"), late])
        assert (state, context.is_cancelled, context.jobid, actions) == (after, True, 7, [])
    assert _run([Event("cancel")], CREATED, _FIRST._replace(is_issued=False))[0] == CANCELLED


def test_the_ends_by_their_reasons() -> None:
    up = [_EVENTS[0], _EVENTS[2], Event("node_active", node=1), Event("node_active", node=2)]
    for event, final in (
        (Event("walltime"), COMPLETED),
        (Event("cancel"), CANCELLED),
        (Event("job_gone"), FAILED),
    ):
        assert _run([*up, event, *_AFTERWARDS])[0] == final
    state, context, actions = _run(up)
    assert state == RUNNING and context.is_ready and actions[-1].kind == "ready"
    ending = _run(
        [
            *up,
            Event("cancel"),
            Event("node_off", node=1),
            Event("image_free", node=1),
            Event("node_off", node=2),
        ]
    )
    assert ending[0] == ENDING, "an image is not back yet"
    assert [one.node for one in _run([*up, Event("walltime"), Event("node_off", node=1), Event("grace_timeout")])[2]
            if one.kind == "poweroff"] == [2]  # fmt: skip


def test_a_node_that_comes_on_in_the_round_in_which_its_set_ends_is_powered_off() -> None:
    left = Context((Member(1, is_on=True, is_free=False), Member(2)), reason="walltime", job_gone=True)
    state, _, actions = _run(
        [Event("node_off", node=1), Event("image_free", node=1), Event("node_active", node=2)], ENDING, left
    )
    assert state == COMPLETED
    assert actions[-2:] == [Action("alarm", text="vm-on-without-job"), Action("poweroff", node=2)]


def test_a_job_that_is_absent_is_submitted_again_unless_it_had_hosts() -> None:
    submitted = _run([_EVENTS[0], Event("job_absent")])
    assert submitted[0] == SUBMITTED and submitted[1].jobid is None
    assert _run([Event("submit_ok", jobid=9)], *submitted[:2])[1].jobid == 9
    assert _run([Event("submit_reject", reason="no")], *submitted[:2])[:1] == (FAILED,)
    assert _run([_EVENTS[0], Event("submit_reject", reason="no")])[0] == SUBMITTED, (
        "a late answer of another try"
    )
    state, context, actions = _run([_EVENTS[0], _EVENTS[2], Event("job_absent")])
    assert (state, context.reason) == (ENDING, "lost")
    assert [one.node for one in actions if one.kind == "poweroff"] == [1, 2]


def test_what_was_taken_back_before_its_job_was_known_ends_when_there_is_none() -> None:
    cancel, absent = Event("cancel"), Event("job_absent")
    assert _run([absent])[0] == CREATED, "it is submitted again"
    for way in ([cancel, absent], [cancel, _EVENTS[0], absent]):
        state, context, actions = _run(way)
        assert (state, context.reason, actions[-1].kind) == (CANCELLED, "user", "release")


def test_ends_by_others_have_their_reasons() -> None:
    for reason, final in (
        ("operator", FAILED),
        ("node", FAILED),
        ("preempted", FAILED),
        ("timeout", COMPLETED),
    ):
        state, context, _ = _run([_EVENTS[0], _EVENTS[2], Event("job_gone", reason=reason), *_AFTERWARDS])
        assert (state, context.reason) == (final, reason)


def test_a_job_that_is_lost_before_the_set_had_hosts_is_submitted_again_twice() -> None:
    lost, submitted = Event("job_gone", reason="lost"), Event("submit_ok", jobid=8)
    state, context, _ = _run([_EVENTS[0], lost, lost])
    assert (state, context.jobid, context.lost_jobs) == (SUBMITTED, None, 1)
    assert _run([submitted, _EVENTS[2]], state, context)[0] == RUNNING
    assert _run([submitted, lost, submitted, lost], state, context)[0] == FAILED
    for event, end in (
        (Event("job_gone", reason="operator"), FAILED),
        (Event("cancel", stop="shutdown"), ENDING),
    ):
        assert _run([submitted, event], state, context)[0] == end


def test_a_set_goes_on_without_a_lost_host_and_ends_when_its_job_is_requeued() -> None:
    state, context, actions = _run([_EVENTS[0], _EVENTS[2], Event("hosts_lost", jobid=7, lost=("h0",))])
    assert state == RUNNING and context.is_degraded and context.hosts == ("h1",)
    assert [one.kind for one in actions] == ["timer", "start", "start"], "nothing else"
    assert _run([Event("allocated", jobid=7)], state, context)[1].reason == "requeued"


def test_a_set_whose_nodes_were_all_removed_lets_its_job_end_and_has_failed() -> None:
    off = _AFTERWARDS[:4]
    state, context, actions = _run(
        [_EVENTS[0], _EVENTS[2], Event("node_active", node=1), *off, Event("nodes_gone")]
    )
    assert (state, context.is_released) == (ENDING, True)
    assert [one.kind for one in actions] == ["timer", "start", "start"], "there is nothing to stop"
    state, context, _ = _run([_AFTERWARDS[-1]], state, context)
    assert (state, context.reason) == (FAILED, "removed")


def test_a_waiting_set_whose_nodes_were_removed_fails_and_its_job_is_known_until_it_ends() -> None:
    for before in ([], [_EVENTS[0]]):
        state, context, actions = _run([*before, Event("nodes_gone")])
        assert (state, context.is_released, actions) == (ENDING, True, [])
        # hosts that it gets now are not used
        state, context, actions = _run([_EVENTS[2], _AFTERWARDS[-1]], state, context)
        assert (state, context.reason) == (FAILED, "removed")
        assert [one.kind for one in actions] == ["release"]
    state, context, actions = step(CREATED, _FIRST._replace(is_issued=False), Event("nodes_gone"))
    assert (state, context.reason, actions) == (FAILED, "removed", [Action("release")])
    taken_back = _run([Event("cancel", stop="shutdown"), Event("nodes_gone"), _AFTERWARDS[-1]])
    assert (taken_back[0], taken_back[1].reason) == (CANCELLED, "user")


def test_starts_are_tried_three_times_with_growing_pauses() -> None:
    failed = Event("start_failed", node=1)
    state, context, actions = _run([_EVENTS[2], failed, failed, failed])
    assert state == RUNNING and context.is_degraded
    assert [one.delay_seconds for one in actions if one.kind == "start" and one.node == 1] == [0, 5, 10]
    assert _run([_EVENTS[2], *[failed] * 3, *[Event("start_failed", node=2)] * 3, *_AFTERWARDS])[0] == FAILED


def test_the_table_names_states_and_the_context_survives_the_database() -> None:
    assert {state for state, _ in TABLE} <= {*LIVING_SETS, "*"}
    for context in list({context for _, context in _reachable()})[:200]:
        assert from_json_object(json.loads(json.dumps(to_json_object(context))), (1, 2)) == context
    assert from_json_object({"hosts": ["a"]}, (1, 2)) == Context((Member(1), Member(2)))


def test_machines_return_to_their_last_hosts() -> None:
    assert placed([(1, None), (2, "h0"), (3, "x")], ["h0", "h1", "h2"]) == ((1, "h1"), (2, "h0"), (3, "h2"))
    assert placed([(1, "h0"), (2, "h0")], ["h1", "h0"]) == ((1, "h0"), (2, "h1"))
    assert placed([(1, None)], ["h0", "h1"]) == () and placed([(1, None), (2, None)], ["h0", "h0"]) == ()


# Which events follow from what a round has read of a computeset's job and nodes.


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
        (seen(job=_ENDED), [Event("job_gone", reason=lifecycle.LOST)]),
        (seen(job=_ENDED._replace(reason="timeout")), [Event("job_gone", reason="timeout")]),
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
