"""`nucleus site`: the sites that owners can reserve."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from nucleus.cli.administration import (
    Action,
    check_name,
    declare,
    perform,
    print_table,
    record,
    the_project,
    unique,
)
from nucleus.mirror import identity
from owners.reservations import mail, records
from rocks.core.errors import StateError, UserError
from rocks.core.names import counted, printable

if TYPE_CHECKING:
    import argparse

    from nucleus.configuration import Configuration
    from nucleus.mirror.pool import Session

_MAX_OF_SITE = 1_000_000
_ADDRESS = re.compile(r"[a-z_][a-z0-9_-]{0,31}@[A-Za-z0-9][A-Za-z0-9.:-]{0,252}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its actions."""
    declare(parser, _ACTIONS)


def run(given: argparse.Namespace, configuration: Configuration) -> int:
    """Do the action."""
    given.mail = configuration.mail
    return perform(given, configuration)


def _list_sites(_: Any, session: Session) -> None:
    names = {project.id: project.name for project in identity.list_projects(session)}
    rows = [
        (
            one.name,
            one.cpus,
            one.memory_gb,
            "yes" if one.has_ent else "no",
            one.login,
            names.get(one.project_id or 0),
        )
        for one in records.list_sites(session)
    ]
    print_table(("SITE", "CPUS", "MEMORY (GB)", "ENT", "ADDRESS", "ADMINISTRATORS"), rows)


def _add_site(given: Any, session: Session) -> str:
    name = check_name(given.site, "a site")
    for number, what in ((given.cpus, "CPUs"), (given.memory_gb, "GB of memory")):
        if not 1 <= number <= _MAX_OF_SITE:
            raise UserError(f"{name} cannot have {number} {what}: it may have 1 to {_MAX_OF_SITE}")
    if given.address and not _ADDRESS.fullmatch(given.address):
        raise UserError(f"{printable(repr(given.address))} is no address of a site: USER@HOST is needed")
    project = the_project(session, given.project).id if given.project else None
    columns = {"name": name, "cpus": given.cpus, "memory_gb": given.memory_gb, "has_ent": given.ent}
    with unique(f"the site {name}"):
        session.insert("reservation_site", {**columns, "address": given.address, "project_id": project})
    record(session, "add_site", name)
    return f"added {name}; what owners reserve there: comet reservation list"


def _the_site(session: Session, name: str) -> records.Site:
    site = records.find_site(session, name, is_locked=True)
    if site is None:
        raise UserError(f"there is no site {printable(repr(name))}; nucleus site list")
    return site


def _remove_site(given: Any, session: Session) -> str:
    site = _the_site(session, given.site)
    living = records.living_reservations(session, site.id)
    if living:
        raise StateError(
            f"the site {site.name} has reservations that have not ended; as an operator:"
            f" {', '.join(f'comet reservation cancel {number}' for number in living[:5])}{', …' if living[5:] else ''},"
            " then try again when comet reservation list shows that they have ended"
        )
    records.remove_site(session, site.id)
    record(session, "remove_site", site.name)
    return f"removed {site.name}, and its reservations"


def _retire_site(given: Any, session: Session) -> str:
    site = _the_site(session, given.site)
    if site.login is None:
        raise UserError(f"{site.name} is this site: cancel its reservations, and their clusters are removed")
    ended = records.fail_all(session, site.id)
    for number, version in ended.items():
        mail.store(session, given.mail, number, version, records.FAILED)
    session.update("reservation_site", {"is_available": False}, id=site.id)
    record(session, "retire_site", site.name)
    return (
        f"ended as failed: {counted(len(ended), 'interval')} of reservations of {site.name}; what runs there was not"
        " removed"
    )


_ACTIONS = {
    "list": Action("list the sites that owners can reserve", _list_sites),
    "add": Action(
        "let owners reserve a site; without --address it is this one",
        _add_site,
        (
            "site",
            ("--cpus", {"type": int, "required": True, "metavar": "N", "help": "CPUs for clusters"}),
            (
                "--memory-gb",
                {"type": int, "required": True, "metavar": "GB", "help": "memory for clusters"},
            ),
            ("--address", {"metavar": "USER@HOST", "help": "of a site that is reached by SSH"}),
            ("--project", {"metavar": "PROJECT", "help": "its members administer the site"}),
            ("--ent", {"action": "store_true", "help": "it has the network ent to other sites"}),
        ),
    ),
    "remove": Action("remove a site, and its reservations, which must have ended", _remove_site, ("site",)),
    "retire": Action(
        "let nobody reserve a site that is gone, and end what is reserved there", _retire_site, ("site",)
    ),
}
