"""`nucleus allocation`, `host`, `usage` and `check`: who may charge, and whether Slurm has what computesets need."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from comet.client.hostlists import collect_hostlist
from nucleus.cli.administration import (
    Action,
    check_name,
    declare,
    perform,
    print_table,
    record,
    session_of,
    the_cluster,
    unique,
)
from nucleus.hostlists import expand
from nucleus.mirror import clusters, identity
from nucleus.mirror.hosts import listed_hosts
from nucleus.records import SYSTEM
from nucleus.states import PENDING
from owners.computesets import records
from owners.computesets.batch import change_list, is_unknown, living_jobs, spelled
from owners.computesets.slurm import missing_settings, read_settings
from rocks.core.errors import StateError, UserError
from rocks.core.names import counted, printable

if TYPE_CHECKING:
    from nucleus.configuration import Configuration
    from nucleus.mirror.pool import Session

_USAGE = (*records.Charge._fields, "node_hours")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The actions of the command that the parser is of; the time and the form of `usage`; what `check` checks."""
    command = parser.prog.rpartition(" ")[2]
    if command == "check":
        parser.add_argument("what", choices=("slurm",), help="the configuration of Slurm")
    elif command != "usage":
        declare(parser, _COMMANDS[command])
    else:
        for name, line in (("from", "ended then or later"), ("to", "ended earlier")):
            parser.add_argument(
                f"--{name}",
                dest="begin" if name == "from" else "end",
                type=_moment,
                metavar="TIME",
                help=f"only of computesets that {line}: a date, or a date and a time, in UTC",
            )
        parser.add_argument(
            "--format",
            choices=("table", "json", "csv"),
            default="table",
            help="how data are printed (default: table)",
        )
        parser.set_defaults(act=_print_usage)


def run(given: argparse.Namespace, configuration: Configuration) -> int:
    """Do the action. UserError for hosts of a site with Slurm, which are those of a partition."""
    batch = configuration.batch
    if given.command == "check":
        return _check(configuration)
    if given.command == "host" and batch.kind != "hosts":
        raise UserError(
            f"computesets get the hosts of the partition {batch.partition} of Slurm; change its nodes there"
        )
    given.configured = batch.hosts
    return perform(given, configuration)


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
    known = listed_hosts(session, given.configured)
    rows = [(name, "in use" if name in used else "free") for name in known]
    print_table(("HOST", "STATE"), [*rows, *((name, "leaves") for name in used if name not in known)])


def _change_hosts(given: Any, session: Session) -> str:
    names = spelled(session, given.configured, expand(given.hosts))
    if not names:
        raise UserError("no host was named; nucleus host list has those that are there")
    is_added = given.action == "add"
    used = _used_hosts(session)
    known = listed_hosts(session, given.configured)
    for name in names:
        if is_added and is_unknown(session, name):
            raise UserError(f"there is no host {name!r}; rocks list host")
        if not is_added and name not in known:
            raise UserError(f"{name!r} is not in the list of hosts; nucleus host list")
    for name in names:
        change_list(session, given.configured, name, is_added)
        record(session, f"{given.action}_host", name)
    done = f"computesets may {'' if is_added else 'not '}get {collect_hostlist(names)}"
    leaving = [name for name in names if name in used and not is_added]
    return "\n".join([done, *(f"{name} is in use; it leaves when its computeset ends" for name in leaving)])


def _used_hosts(session: Session) -> list[str]:
    return sorted(host for job in living_jobs(session) if job.state != PENDING for host in job.hosts)


def _print_usage(given: Any, session: Session) -> None:
    """Print a row for each allocation, project, user and cluster. UserError for a time that ends before it begins."""
    if given.begin is not None and given.end is not None and given.end <= given.begin:
        raise UserError("the time ends before it begins; choose a later --to")
    found = records.charges(session, SYSTEM, given.begin, given.end)
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


def _check(configuration: Configuration) -> int:
    """Print each missing setting; 1 when there is one. UserError on a site without Slurm."""
    batch = configuration.batch
    if batch.kind != "slurm":
        raise UserError(
            'computesets run on a list of hosts here; set kind = "slurm" in [batch] of the settings first'
        )
    with session_of(configuration) as session:
        allocations = [name for name, _ in identity.list_allocations(session)]
    grace_seconds = configuration.computesets.grace_seconds
    missing = missing_settings(read_settings(batch), batch, allocations, grace_seconds)
    for line in missing:
        print(f"missing: {line}")
    if not missing:
        print(
            f"Slurm has what computesets need; partition {batch.partition}, allocations: {len(allocations)}"
        )
    return 1 if missing else 0


_COMMANDS = {
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
}
