"""Whether the frontend's services run and serve what the database has: `rocks check services`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.check_lines import OK, WRONG, SiteCheck, run_checks
from rocks.database.migrate import read_version
from rocks.inventory.host_records import local_host
from rocks.network.dns.changes import has_name_service, name_folder
from rocks.network.dns.name_server import named_process
from rocks.network.dns.service import outdated_files
from rocks.site.checks.installation import check_services
from rocks.storage.broker.checks import check_broker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rocks.database.connection import Database


def check_all_services(database: Database) -> Iterator[SiteCheck]:
    """A line for each check; an error in one is its result. StateError when this machine is not in the database."""
    frontend = local_host(database)
    checks: dict[str, Callable[[], Iterable[SiteCheck]]] = {
        "database": lambda: [SiteCheck("database", OK, f"answers, schema {read_version(database.settings)}")],
        "services": lambda: check_services(database, frontend),
        "broker": lambda: check_broker(database, frontend),
        "names": lambda: _names(database),
    }
    yield from run_checks(checks)


def _names(database: Database) -> Iterator[SiteCheck]:
    """Whether the files of names are those of the database, and named runs."""
    outdated = outdated_files(database)
    if outdated:
        yield SiteCheck("names", WRONG, f"not as in the database: {', '.join(outdated[:3])}: rocks sync dns")
    else:
        yield SiteCheck("names", OK, "as in the database")
    if has_name_service():
        process = named_process(name_folder() / "named.conf")
        if process is None:
            yield SiteCheck(
                "named", WRONG, "does not run: systemctl start rocks-dns; journalctl -u rocks-dns says why"
            )
        else:
            yield SiteCheck("named", OK, f"runs as process {process}")
