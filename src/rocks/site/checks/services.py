"""Whether the frontend's services run and serve what the database has: `rocks check services`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.check_lines import MISSING, OK, WRONG, SiteCheck, run_checks
from rocks.database.migrate import read_version
from rocks.inventory.host_records import local_host
from rocks.inventory.loaded_host_records import load_hosts
from rocks.network.dns.changes import has_name_service, name_folder
from rocks.network.dns.service import named_process, outdated_files
from rocks.site.checks.installation import check_services
from rocks.storage.broker.broker import check_broker

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
        "names": lambda: _names(database, frontend),
    }
    yield from run_checks(checks)


def _names(database: Database, frontend: str) -> Iterator[SiteCheck]:
    """Whether the files of names are those of the database, and named runs."""
    outdated, serves = outdated_files(database), has_name_service()
    if outdated:
        yield SiteCheck("names", WRONG, f"not as in the database: {', '.join(outdated[:3])}: rocks sync dns")
    else:
        alone = "" if serves else ", in /etc/hosts alone: this machine has no name service"
        yield SiteCheck("names", OK, f"as in the database{alone}")
    if serves:
        process = named_process(name_folder() / "named.conf")
        down = "does not run: systemctl start rocks-dns; journalctl -u rocks-dns says why"
        yield SiteCheck("named", *((OK, f"runs as process {process}") if process else (WRONG, down)))
    elif load_hosts(database, [frontend])[0].is_true("dns_service"):
        yield SiteCheck("named", MISSING, "dns_service is yes: systemctl enable --now rocks-dns")
