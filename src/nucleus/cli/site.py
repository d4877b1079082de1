"""`nucleus cluster`, `history` and `audit`."""

from __future__ import annotations

import argparse
import zlib
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nucleus.cli.administration import (
    Action,
    check_name,
    declare,
    perform,
    print_table,
    record,
    the_cluster,
    the_project,
)
from nucleus.cli.assignments import demand_nothing_of_others
from nucleus.mirror import audit, clusters, identity, operations
from nucleus.mirror.history import sizes
from nucleus.records import SYSTEM
from rocks.core.errors import IncoherentError, UserError
from rocks.core.names import counted, printable

if TYPE_CHECKING:
    from nucleus.configuration import Configuration
    from nucleus.mirror.pool import Session


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The actions of the command that the parser is of."""
    command = parser.prog.rpartition(" ")[2]
    if command == "history":
        parser.set_defaults(act=_print_history)
    else:
        declare(parser, _COMMANDS[command])


def run(given: argparse.Namespace, configuration: Configuration) -> int:
    """Do the action."""
    given.history = configuration.history
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
