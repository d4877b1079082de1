"""`nucleus cluster`, `allocation`, `host`, `usage`, `history` and `audit`."""

from __future__ import annotations

import argparse
import csv
import json
import sys
import zlib
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comet.client.hostlists import collect_hostlist
from nucleus.cli.administration import (
    Action,
    check_name,
    declare,
    perform,
    print_table,
    record,
    the_cluster,
    the_project,
    unique,
)
from nucleus.cli.assignments import demand_nothing_of_others
from nucleus.hostlists import expand
from nucleus.mirror import audit, clusters, hosts, identity, operations, usage
from nucleus.mirror.history import sizes
from nucleus.records import SYSTEM
from nucleus.states import PENDING
from rocks.core.errors import IncoherentError, StateError, UserError
from rocks.core.names import counted, printable

if TYPE_CHECKING:
    from nucleus.configuration import Configuration
    from nucleus.mirror.pool import Session

_USAGE = (*usage.Charge._fields, "node_hours")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The actions of the command that the parser is of; the time and the form of `usage`."""
    command = parser.prog.rpartition(" ")[2]
    if command == "history":
        parser.set_defaults(act=_print_history)
        return
    if command != "usage":
        declare(parser, _COMMANDS[command])
        return
    for name, line in (("from", "ended then or later"), ("to", "ended earlier")):
        parser.add_argument(
            f"--{name}",
            dest="begin" if name == "from" else "end",
            type=_moment,
            metavar="TIME",
            help=f"only of computesets that {line}: a date, or a date and a time, in UTC",
        )
    parser.add_argument("--format", choices=("table", "json", "csv"), default="table", help="table")
    parser.set_defaults(act=_print_usage)


def run(given: argparse.Namespace, configuration: Configuration) -> int:
    """Do the action. UserError for hosts of a site with Slurm, which are those of a partition."""
    batch = configuration.batch
    if given.command == "host" and batch.kind != "hosts":
        raise UserError(
            f"computesets get the hosts of the partition {batch.partition} of Slurm; change its nodes there"
        )
    given.configured, given.history = batch.hosts, configuration.history
    return perform(given, configuration)


def _list_clusters(_: Any, session: Session) -> None:
    found = clusters.list_clusters(session, SYSTEM)
    permitted = clusters.allocations_of(session, SYSTEM, [one.id for one in found])
    header = ("CLUSTER", "PROJECT", "ROCKS NAME", "ALLOCATIONS", "UNIX ACCOUNT")
    rows = [
        (one.name, one.project, one.rocks_name, ", ".join(permitted[one.id]), one.username) for one in found
    ]
    columns = 5 if any(one.username for one in found) else 4  # few sites set one (nucleus cluster account)
    print_table(header[:columns], [row[:columns] for row in rows])


def _assign(given: Any, session: Session) -> str:
    cluster = the_cluster(session, given.cluster)
    project = None if given.project == "none" else the_project(session, given.project)
    number = None if project is None else project.id
    lost: list[str] = []
    if number != cluster.project_id:
        demand_nothing_of_others(session, cluster, project)
        if cluster.project_id is not None:
            lost = clusters.allocations_of(session, SYSTEM, [cluster.id])[cluster.id]
    for allocation in lost:
        identity.set_allocation(session, cluster.id, allocation, False)
        record(session, "forbid_allocation", f"{cluster.name}/{allocation}")
    clusters.assign_cluster(session, cluster.id, number)
    clusters.bump_generation(session, [cluster.id])
    record(session, "assign_cluster", f"{cluster.name}/{'none' if project is None else project.name}")
    again = [
        f"it may not charge {one}; to permit it again: nucleus allocation permit {one} {cluster.name}"
        for one in lost
    ]
    assigned = f"{cluster.name} is assigned to {'no project' if project is None else project.name}"
    return "\n".join([assigned, *again])


def _describe(given: Any, session: Session) -> str:
    cluster = the_cluster(session, given.cluster)
    session.update("cluster", {"description": given.text}, id=cluster.id)
    clusters.bump_generation(session, [cluster.id])
    record(session, "describe_cluster", cluster.name, given.text)
    return f"the description of {cluster.name} is changed"


def _account(given: Any, session: Session) -> str:
    cluster = the_cluster(session, given.cluster)
    account = check_name(given.account, "a Unix account") if given.account else ""  # "": it has none any more
    session.update("cluster", {"username": account}, id=cluster.id)
    record(session, "set_account", cluster.name, account)
    return f"the Unix account of {cluster.name} is {account or 'none'}"


def _permit_node(given: Any, session: Session) -> str:
    cluster = the_cluster(session, given.cluster)
    node = clusters.find_node(session, SYSTEM, cluster.id, given.node)
    if node is None:
        raise UserError(
            f"the cluster {cluster.name} has no node {printable(repr(given.node))}; rocks list cluster"
            f" {cluster.rocks_name}"
        )
    session.update("node", {"admin_disabled": given.action == "disable"}, id=node.id)
    clusters.bump_generation(session, [cluster.id])
    record(session, f"{given.action}_node", f"{cluster.name}/{node.name}")
    return f"{given.action}d {node.name} of {cluster.name}"


def _list_allocations(_: Any, session: Session) -> None:
    print_table(("ALLOCATION", "CLUSTERS"), identity.list_allocations(session))


def _add_allocation(given: Any, session: Session) -> str:
    name = check_name(given.allocation, "an allocation")
    with unique(f"the allocation {name}"):
        identity.add_allocation(session, name)
    record(session, "add_allocation", name)
    return f"added {name}; what may charge it: nucleus allocation permit {name} CLUSTER"


def _remove_allocation(given: Any, session: Session) -> str:
    name = given.allocation
    used = session.value("SELECT COUNT(*) FROM computeset WHERE account = %s", (name,))
    if used:
        raise StateError(
            f"the allocation {name} stays: {counted(used, 'computeset')} charged it; nucleus allocation permit {name}"
            " CLUSTER --remove lets a cluster charge it no more"
        )
    permitted = identity.clusters_permitted(session, name)
    if permitted:
        raise StateError(
            f"the allocation {name} stays: {', '.join(permitted)} may charge it; first, for each: nucleus allocation"
            f" permit {name} {permitted[0]} --remove"
        )
    if not session.delete("allocation", name=name):
        raise UserError(f"there is no allocation {printable(repr(name))}; nucleus allocation list")
    record(session, "remove_allocation", name)
    return f"removed {name}"


def _permit_allocation(given: Any, session: Session) -> str:
    cluster = the_cluster(session, given.cluster)
    if not identity.set_allocation(session, cluster.id, given.allocation, not given.remove):
        raise UserError(
            f"there is no allocation {printable(repr(given.allocation))}; nucleus allocation list"
        )
    clusters.bump_generation(session, [cluster.id])
    action = "forbid_allocation" if given.remove else "permit_allocation"
    record(session, action, f"{cluster.name}/{given.allocation}")
    return f"{cluster.name} may {'not ' * given.remove}charge {given.allocation}"


def _list_hosts(given: Any, session: Session) -> None:
    used = _used_hosts(session)
    known = hosts.listed_hosts(session, given.configured)
    rows = [(name, "in use" if name in used else "free") for name in known]
    print_table(("HOST", "STATE"), [*rows, *((name, "leaves") for name in used if name not in known)])


def _change_hosts(given: Any, session: Session) -> str:
    names = hosts.spelled(session, given.configured, expand(given.hosts))
    if not names:
        raise UserError("no host was named; nucleus host list has those that are there")
    is_added = given.action == "add"
    used = _used_hosts(session)
    known = hosts.listed_hosts(session, given.configured)
    for name in names:
        if is_added and hosts.is_unknown(session, name):
            raise UserError(f"there is no host {name!r}; rocks list host")
        if not is_added and name not in known:
            raise UserError(f"{name!r} is not in the list of hosts; nucleus host list")
    for name in names:
        hosts.change_list(session, given.configured, name, is_added)
        record(session, f"{given.action}_host", name)
    done = f"computesets may {'' if is_added else 'not '}get {collect_hostlist(names)}"
    leaving = [name for name in names if name in used and not is_added]
    return "\n".join([done, *(f"{name} is in use; it leaves when its computeset ends" for name in leaving)])


def _used_hosts(session: Session) -> list[str]:
    return sorted(host for job in hosts.living_jobs(session) if job.state != PENDING for host in job.hosts)


def _list_audit(given: Any, session: Session) -> None:
    if given.last < 1:
        raise UserError(f"--last={given.last}: at least one row is needed, as in --last=50")
    newest = audit.newest(session, min(given.last, 100_000))
    afters = [row.entry.after for row in newest if row.entry.after]
    states = {name: f"{name} {state}" for name, state in operations.states_of(session, afters).items()}
    rows = [
        (row.seq, row.at.isoformat(" ", "seconds"), row.entry.actor, row.entry.source_ip, row.entry.action,
         row.entry.target, row.entry.outcome, states.get(row.entry.after or ""))
        for row in newest
    ]  # fmt: skip
    print_table(("ROW", "TIME", "ACTOR", "FROM", "ACTION", "TARGET", "OUTCOME", "OPERATION"), rows)


def _verify_audit(given: Any, session: Session) -> None:
    folder = Path(given.history.folder)
    try:
        found = list(islice(audit.faults(audit.whole_chain(session, folder)), 5))
    except (OSError, EOFError, ValueError, TypeError, zlib.error) as error:
        raise IncoherentError(f"a file of the audit log in {folder} cannot be read: {error}") from None
    if found:
        raise IncoherentError("; ".join(found))
    last = audit.newest(session, 1)
    print(
        f"the chain is whole to row {last[0].seq}, hash {last[0].hash.hex()}" if last else "the log is empty"
    )


def _print_history(given: Any, session: Session) -> None:
    """Print what the tables have, and how old it may become."""
    rows = [
        (
            one.table,
            one.rows,
            f"{one.megabytes:.1f}",
            one.oldest.isoformat(" ", "seconds") if one.oldest else None,
        )
        for one in sizes(session)
    ]
    print_table(("TABLE", "ROWS", "MB", "OLDEST"), rows)
    history = given.history
    files = list(Path(history.folder).glob("audit-*.json.gz"))
    print(
        f"ended operations and rows of the audit log are here for {history.days} days ([history] days of the settings);"
        f" older rows of the log are in {counted(len(files), 'file')} of {history.folder},"
        f" {sum(one.stat().st_size for one in files) / 2**20:.1f} MB"
    )


def _print_usage(given: Any, session: Session) -> None:
    """Print a row for each allocation, project, user and cluster. UserError for a time that ends before it begins."""
    if given.begin is not None and given.end is not None and given.end <= given.begin:
        raise UserError("the time ends before it begins; choose a later --to")
    found = usage.charges(session, SYSTEM, given.begin, given.end)
    rows = [(*one, f"{one.charged_seconds / 3600:.2f}") for one in found]
    if given.format == "json":
        print(json.dumps([{**one._asdict(), "node_hours": one.charged_seconds / 3600} for one in found]))
    elif given.format == "csv":
        csv.writer(sys.stdout, lineterminator="\n").writerows([_USAGE, *rows])
    else:
        print_table([key.upper().replace("_", " ") for key in _USAGE], rows)


def _moment(text: str) -> datetime:
    try:
        given = datetime.fromisoformat(text)
        return given.replace(tzinfo=UTC) if given.tzinfo is None else given.astimezone(UTC)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"{text!r} is no time; give a date such as 2026-12-01") from None


_NODE = ("cluster", ("node", {"nargs": "?", "metavar": "NODE"}))
_COMMANDS = {
    "cluster": {
        "list": Action("list the clusters and their projects", _list_clusters),
        "assign": Action("give a cluster to a project; none takes it back", _assign, ("cluster", "project")),
        "describe": Action("set the description that owners read", _describe, ("cluster", "text")),
        "account": Action("set the Unix account of the cluster's jobs", _account, ("cluster", "account")),
        "disable": Action("let nobody start a node; without NODE the frontend", _permit_node, _NODE),
        "enable": Action("let its owners start the node again", _permit_node, _NODE),
    },
    "allocation": {
        "list": Action("list the allocations and the clusters that may charge them", _list_allocations),
        "add": Action("add an allocation", _add_allocation, ("allocation",)),
        "remove": Action(
            "remove an allocation that nothing charges, and no cluster may",
            _remove_allocation,
            ("allocation",),
        ),
        "permit": Action(
            "let a cluster charge an allocation, or no more",
            _permit_allocation,
            ("allocation", "cluster", ("--remove", {"action": "store_true", "help": "no more"})),
        ),
    },
    "host": {
        "list": Action("list the hosts, and which are in use", _list_hosts),
        "add": Action("let computesets have hosts, such as compute-0-[0-3]", _change_hosts, ("hosts",)),
        "remove": Action(
            "let no more computesets have them; one in use leaves when its set ends",
            _change_hosts,
            ("hosts",),
        ),
    },
    "audit": {
        "list": Action(
            "print the newest rows; of an operation that was accepted, its identifier and its state now",
            _list_audit,
            (("--last", {"type": int, "default": 50, "metavar": "ROWS", "help": "how many (50)"}),),
        ),
        "verify": Action(
            "check that no row was changed, removed or put in between; note the number and hash that it prints: rows"
            " that are removed from the end are seen by them only",
            _verify_audit,
        ),
    },
}
