"""`nucleus host`: the hosts that computesets get, on a site without Slurm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nucleus.cli.administration import Action, declare, perform, print_table, record
from nucleus.hostlists import expand
from nucleus.mirror import hosts
from nucleus.states import PENDING
from rocks.core.errors import UserError

if TYPE_CHECKING:
    import argparse

    from nucleus.configuration import Configuration
    from nucleus.mirror.pool import Session


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The actions."""
    declare(parser, _ACTIONS)


def run(arguments: argparse.Namespace, configuration: Configuration) -> int:
    """Do the action. UserError on a site with Slurm, whose hosts are those of a partition."""
    batch = configuration.batch
    if batch.kind != "hosts":
        raise UserError(
            f"computesets get the hosts of the partition {batch.partition} of Slurm; change its nodes there"
        )
    arguments.configured = batch.hosts
    return perform(arguments, configuration)


def _list(given: Any, session: Session) -> None:
    used = _used(session)
    known = hosts.listed_hosts(session, given.configured)
    rows = [(name, "in use" if name in used else "free") for name in known]
    print_table(("HOST", "STATE"), [*rows, *((name, "leaves") for name in used if name not in known)])


def _change(given: Any, session: Session) -> None:
    names, is_added = expand(given.hosts), given.action == "add"
    used = _used(session)
    known = hosts.listed_hosts(session, given.configured)
    for name in names:
        if is_added and hosts.is_unknown(session, name):
            raise UserError(f"there is no host {name!r}; rocks list host")
        if not is_added and name not in known:
            raise UserError(f"{name!r} is not in the list of hosts; nucleus host list")
    for name in names:
        hosts.change_list(session, given.configured, name, is_added)
        record(session, f"{given.action}_host", name)
        if not is_added and name in used:
            print(f"{name} is in use; it leaves when its computeset ends")


def _used(session: Session) -> list[str]:
    return sorted(host for job in hosts.living_jobs(session) if job.state != PENDING for host in job.hosts)


_ACTIONS = {
    "list": Action("list the hosts, and which are in use", _list),
    "add": Action("let computesets have hosts, such as compute-0-[0-3]", _change, ("hosts",)),
    "remove": Action(
        "let no more computesets have them; one in use leaves when its set ends", _change, ("hosts",)
    ),
}
