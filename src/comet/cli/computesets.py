"""`comet computeset`, `start`, `extend`, `merge`, `terminate`, `usage`."""

from __future__ import annotations

import json
import time
from datetime import datetime, timedelta, timezone
from typing import Any, Optional

from comet.cli.context import Context, ask, is_terminal, locate, number
from comet.cli.output import columns, printed, safe, show, tabbed
from comet.client import records
from comet.client.durations import format_duration, walltime_to_minutes
from comet.client.errors import RefusedError, UsageError
from comet.client.files import request_key
from comet.client.hostlists import collect_hostlist, expand_hostlist
from comet.client.records import Computeset, Node, Started
from comet.client.views import macs, row

_NODES = columns("name", "state", "type", "mac", "cpus", "cluster", "host", "memory")
_CHARGES = columns("allocation", "project", "user", "cluster", "computesets", "node_hours")
_CHARGES_BY_DAY = (*columns("day"), *_CHARGES)
CHARGE_KEYS = "allocation project user cluster computesets charged_seconds"
_STATES = {"active": list(records.LIVING_STATES), "all": []}


def show_sets(context: Context) -> None:
    """One set, or those of a state; with --wait, until the named one runs with all its nodes on."""
    given, client = context.arguments.computeset, context.client
    others: list[Computeset] = []
    if given is not None:
        chosen = number(given, "a computeset's number")
        waiter = context.waiter()
        if waiter:
            waiter.running(chosen)
        found = [client.document("computeset", chosen, "")]
    else:
        state = str(context.option("state", "running"))
        # where none runs, it says how many wait or end
        asked = "active" if (state, context.form) == ("running", "table") else state
        found = client.document("computeset", "", query=[("state", it) for it in _STATES.get(asked, [asked])])
    cluster, allocation = context.option("cluster"), context.option("allocation")
    pairs = [(it, records.read_computeset(it)) for it in records.read_list(found, "computesets")]
    pairs = [
        (document, it)
        for document, it in pairs
        if records.is_of(cluster, it) and allocation in (None, it.account)
    ]
    if given is None and asked != state:
        others = [it for _, it in pairs if it.state != state]
        pairs = [(document, it) for document, it in pairs if it.state == state]
    context.stale = any(node.stale for _, it in pairs for node in it.computes)
    if context.form == "rest":
        context.print_document([document for document, _ in pairs])
    elif context.form == "table":
        for _, it in pairs:
            _print_set(it)
        if not pairs:
            context.say(_none_found(context, others))
    else:
        context.print(
            _rows([it for _, it in pairs], context.form), columns(*f"{_SET_KEYS} {_NODE_KEYS}".split())
        )


def start(context: Context) -> None:
    given = context.arguments
    count = context.option("count")
    locate(context)
    if count is None and given.nodes and given.nodes.isascii() and given.nodes.isdigit():
        raise UsageError(
            f"start {given.cluster} {given.nodes}: any {given.nodes} free computes are started by comet start "
            f"{given.cluster} --count={given.nodes}"
        )
    if (not given.nodes) == (count is None):
        raise UsageError(f"start {given.cluster}: name computes such as vm-[0-3], or give --count=N")
    walltime = str(context.option("walltime", "2d"))
    walltime_to_minutes(walltime)  # before anything is asked of the server
    expected = number(str(count), "a number of computes") if count is not None else None
    if expected == 0:
        raise UsageError("--count=0 starts nothing")
    asked: dict[str, Any] = {
        "nodes": expand_hostlist(given.nodes) if given.nodes else None,
        "count": expected,
        "allocation": context.option("allocation") or only_allocation(context, given.cluster),
        "walltime": walltime,
        "reservation": context.option("reservation"),
    }
    if context.option("dry_run"):
        _print_estimate(context, context.client.estimate(given.cluster, **asked))
        return
    started = _start_once(context, given.cluster, asked)
    name, waiter = f"computeset {started.computeset}", context.waiter()
    if not waiter:
        show(f"{name} is accepted. Follow it: comet {name} --wait")
        return
    context.say(f"{name} is accepted")
    waiter.follow(started)
    show(f"{name} is running")


def _start_once(context: Context, cluster: str, asked: dict[str, Any]) -> Started:
    """One set, also for a command that was killed before its answer and is given again.

    With names, the nodes are busy then; with a count, other nodes would be taken.
    """
    client = context.client
    what = [client.endpoint.url, client.endpoint.identity, cluster, *asked.values()]
    with request_key(json.dumps(what)) as (key, is_repeated):
        if is_repeated:
            context.say("this command was given before, and had no answer: it is continued")
        return client.start(cluster, **asked, idempotency_key=key)


_ESTIMATE = columns(
    *(
        "cluster",
        "computes",
        "allocation",
        "walltime_mins",
        "node_minutes",
        "left_minutes",
        "estimated_start",
        "waiting",
    )
)


def _print_estimate(context: Context, found: dict[str, Any]) -> None:
    if context.form != "table":
        context.print([row(None, " ".join(it.key for it in _ESTIMATE), **found)], _ESTIMATE, lambda: found)
        return
    names = collect_hostlist(str(it) for it in records.read_list(found.get("computes"), "computes"))
    cost, left = (
        _hours(it * 60 if isinstance(it, int) else it)
        for it in map(found.get, ("node_minutes", "left_minutes"))
    )
    show(tabbed(f"Cluster: {found.get('cluster')}", f"Computes: {names}"))
    limit = "" if left is None else f"; {found.get('allocation')} has {left:,.15g} left"
    show(safe(f"Cost: up to {cost or 0:,.15g} node hours{limit}"))
    start = local_time(seconds_since_epoch(found.get("estimated_start"))) or "not known"
    show(safe(f"Est. start: {start}" + (f"; {found['waiting']}" if found.get("waiting") else "")))


def _none_found(context: Context, others: list[Computeset]) -> str:
    """What was not found, and which command shows or makes some: never the command that was given.

    `others`: sets that are not looked for, and have not ended.
    """
    state, cluster = str(context.option("state", "running")), context.option("cluster")
    where = f" of cluster {cluster}" if cluster is not None else ""
    where += f" that {context.option('allocation')} is charged for" if context.option("allocation") else ""
    if state == "all":
        return f"there is no computeset{where}, also none that has ended. Start one: comet start CLUSTER --count=N"
    if others:
        ending = sum(it.state == "ending" for it in others)
        counts = {"wait": len(others) - ending, "end": ending}
        many = ", ".join(f"{count} {verb}{'s' * (count == 1)}" for verb, count in counts.items() if count)
        return f"no computeset{where} is {state}, and {many}: comet computeset --state=active"
    return f"no computeset{where} is {state}. Those of every state: comet computeset --state=all"


def terminate(context: Context) -> None:
    chosen = number(context.arguments.computeset, "a computeset's number")
    if is_terminal() and not context.option("yes"):
        found = context.client.computeset(chosen)
        demand_living(found)
        context.confirm(end_question(found))
    end_set(context, chosen, hard=False)


def extend(context: Context) -> None:
    """The answer of the site's scheduler is waited for: it may refuse."""
    chosen, text = number(context.arguments.computeset, "a computeset's number"), context.arguments.time
    minutes = walltime_to_minutes(text.removeprefix("+"))
    if text.startswith("+"):
        found = context.client.computeset(chosen)
        if found.walltime_mins is None:
            raise UsageError(f"computeset {chosen} has no walltime; give the whole time, such as 12h")
        minutes += found.walltime_mins
    operation = context.client.extend(chosen, minutes)
    if operation:
        context.new_waiter(context.option("wait", "120")).operation(operation)
    show(f"computeset {chosen} runs for {format_duration(minutes * 60)} in all")


def merge(context: Context) -> None:
    given = context.arguments
    chosen, other = (number(it, "a computeset's number") for it in (given.computeset, given.other))
    context.client.merge(chosen, other)
    show(f"computeset {other} is a part of computeset {chosen}")


def demand_living(one: Computeset) -> None:
    """RefusedError for a set that has ended."""
    if one.ended:
        raise RefusedError(f"computeset {one.id} is {one.state}; there is nothing to end")


def end_question(one: Computeset) -> str:
    """What ends with a set."""
    names = collect_hostlist([it.name for it in one.computes])
    return f"This ends computeset {one.id} of {one.cluster}, and its nodes {names}. Go on?"


def end_set(context: Context, chosen: int, hard: bool) -> None:
    """End a set; with --wait, until its disks are back on the NAS."""
    operation = context.client.terminate(chosen, hard)
    waiter = context.waiter()
    if not waiter:
        show(f"computeset {chosen} is ending. Follow it: comet computeset {chosen}")
        return
    context.say(
        f"computeset {chosen} is ending; it waits until its nodes are off, their disks written back, and its job ended"
    )
    if operation:
        waiter.operation(operation)
    show(f"computeset {chosen} is {waiter.ended(chosen).state}")


def only_allocation(context: Context, cluster: str) -> Optional[str]:
    """The allocation that is charged: none to say if there is one at most, else the user's choice."""
    # a change is never decided by the cache
    document = context.client.document("cluster", cluster, "", fresh=True)
    allocations = records.read_cluster(document).allocations
    if len(allocations) < 2:
        return None
    listed = ", ".join(allocations)
    if not is_terminal():
        raise UsageError(f"cluster {cluster} has several allocations: choose one with --allocation: {listed}")
    chosen = ask(f"Charge which allocation ({listed})? ")
    if chosen not in allocations:
        raise UsageError(f"'{chosen}' is not one of {listed}")
    return chosen


_OF_SLURM = "waiting place charged_seconds charged_so_far_seconds"
_SET_KEYS = f"id cluster state allocation start end requested running remaining reservation {_OF_SLURM}"
_NODE_KEYS = "name node_state type mac cpus host memory"


def _times(it: Computeset) -> dict[str, Any]:
    """Start and end as local times with their zone, and durations as [D-]HH:MM; the start of a set that waits is
    estimated, the end of one that lives is that of its walltime."""
    requested = None if it.walltime_mins is None else it.walltime_mins * 60
    running = end = remaining = None
    start = seconds_since_epoch(it.estimated_start) if it.start_time is None else it.start_time
    if it.ended:
        end = seconds_since_epoch(it.ended_at)
    elif it.walltime_end is not None:
        end = seconds_since_epoch(it.walltime_end)
    elif start is not None and requested is not None:
        end = start + requested
    if it.start_time is not None and (it.state in ("running", "ending") or it.ended and end is not None):
        running = (end if it.ended and end is not None else time.time()) - it.start_time
    if running is not None and end is not None and not it.ended:
        remaining = end - time.time()
    return {
        "start": local_time(start),
        "end": local_time(end),
        "requested": format_duration(requested) or None,
        "running": format_duration(running) or None,
        "remaining": format_duration(remaining) or None,
    }


def seconds_since_epoch(moment: Optional[str]) -> Optional[float]:
    """Seconds since 1970 of a moment as the server writes it."""
    try:
        return datetime.fromisoformat((moment or "").replace("Z", "+00:00")).timestamp()
    except (ValueError, OverflowError):
        return None


def local_time(moment: Optional[float]) -> Optional[str]:
    """Seconds since 1970 as a time of this machine, with its zone."""
    try:
        return None if moment is None else time.strftime("%Y-%m-%d %H:%M %z", time.localtime(moment))
    except (OverflowError, ValueError, OSError):
        return None


def zoned_time(text: Optional[Any], option: str) -> Optional[str]:
    """A moment of an option with its zone: that of this machine where none is given."""
    if text is None:
        return None
    try:
        return datetime.fromisoformat(str(text).replace("Z", "+00:00")).astimezone().isoformat()
    except (ValueError, OverflowError, OSError):
        raise UsageError(
            f"{option}={text}: give a date, or a date and a time: 2026-12-01, 2026-12-01T10:00"
        ) from None


def usage(context: Context) -> None:
    begin, end = (zoned_time(context.option(it), f"--{it}") for it in ("from", "to"))
    if begin and end and datetime.fromisoformat(end) <= datetime.fromisoformat(begin):
        raise UsageError("--to is not after --from: choose a later --to")
    by = context.option("by")
    if by:
        tomorrow = datetime.now(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(
            1
        )
        end = end or tomorrow.isoformat()
        begin = begin or (datetime.fromisoformat(end) - timedelta(days=31)).isoformat()
    found = context.client.usage(begin, end, by)
    rows = [{**it, "node_hours": _hours(it.get("charged_seconds"))} for it in found]
    if not rows and context.form == "table":
        context.say("no computeset that has ended was found")
        return
    if by:
        rows = [{by: it.get(by), **it} for it in rows]
    chosen, keys = (_CHARGES_BY_DAY, f"day {CHARGE_KEYS}") if by else (_CHARGES, CHARGE_KEYS)
    context.print(rows, chosen, lambda: found, f"{keys} node_hours")


def _hours(seconds: Any) -> Optional[float]:
    is_time = isinstance(seconds, (int, float)) and abs(seconds) < 1 << 63
    return round(seconds / 3600, 2) if is_time else None


def _print_set(it: Computeset) -> None:
    times = {key: value or "-" for key, value in _times(it).items()}
    state = f"State: {it.state}{it.why}{', some nodes failed' if it.degraded else ''}"
    account = f"Allocation: {it.account or '-'}"
    merged = f" (with {', '.join(map(str, it.merged))})" if it.merged else ""
    show(tabbed(f"Cluster: {it.cluster}", f"Computeset: {it.id}{merged}", state, account))
    about = ("Start", "End") if it.ended else ("Est. start", "Est. end")
    show(f"{about[0]}: {times['start']}\t{about[1]}: {times['end']}")
    requested = f"{times['requested']}{' (extended by the site)' * _is_extended(it)}"
    show(f"Requested: {requested}\tRunning: {times['running']}\tRemaining: {times['remaining']}")
    if it.waiting:
        show(tabbed(f"Waiting: {it.waiting}", f"Place: {it.place or '-'}"))
    for what, seconds in (("Charged", it.charged_seconds), ("Charged so far", it.charged_so_far_seconds)):
        if seconds is not None:
            show(f"{what}: {seconds / 3600:.2f} node hours ({seconds} node seconds)")
    nodes = [{**node._asdict(), "state": _state(it, node) or "-", "mac": macs(node)} for node in it.computes]
    # the columns of the published client, also that of hosts, which Nucleus keeps from owners: scripts count them
    show(printed(nodes, _NODES, "table"))


def _is_extended(it: Computeset) -> bool:
    """Whether its walltime ends later than was requested. By how much is not known: the start that a server states is
    a little after that of the scheduler, from which the walltime counts."""
    end = seconds_since_epoch(it.walltime_end)
    if end is None or it.start_time is None or it.walltime_mins is None:
        return False
    return end >= it.start_time + 60 * (it.walltime_mins + 1)


def _state(it: Computeset, node: Node) -> Optional[str]:
    """The state of a node as one of this set; after the end of the set it is no matter of this set."""
    return None if it.ended else node.state


def _rows(sets: list[Computeset], form: str) -> list[dict[str, Any]]:
    """An object for each set with its nodes; for CSV a row for each node."""
    rows: list[dict[str, Any]] = []
    for it in sets:
        values = row(it, _SET_KEYS, allocation=it.account, **_times(it))
        computes = [
            row(node, _NODE_KEYS, node_state=_state(it, node), mac=";".join(macs(node)))
            for node in it.computes
        ]
        if form == "csv":
            rows += [{**values, **one} for one in computes]
        else:
            rows.append({**values, "computes": computes})
    return rows
