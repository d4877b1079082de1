"""Commands about hosts at the same moment: a removal beside a new machine, an alias beside a host of its name."""

import threading
from contextlib import suppress
from typing import Any

import pytest

from rocks.core.errors import UserError
from rocks.database.connection import Database
from rocks.inventory.hosts import add_host
from rocks.inventory.new_host_parameters import HostParameters
from rocks.network.dns.changes import add_alias
from rocks.site import hosts
from rocks.site.hosts import rename_host
from tests.system.commands.conftest import Site
from tests.system.commands.test_commands_at_once import Change, ends, start
from tests.waiting import at_once


def test_a_host_that_gets_a_machine_while_it_is_checked_stays(
    vm_site: Site, processes: dict[str, str]
) -> None:
    """Its machine would be left without a host, also one that was started there meanwhile."""
    additions: list[tuple[int, str]] = []
    check = hosts._check_unused

    def check_then_add(*given: Any) -> None:
        check(*given)
        given[0].end_reading()  # this wait is the test's, not the command's
        if not additions:
            line = ("add", "host", "vm", "vmc-0-1", "membership=compute", "name=web")
            additions.extend(ends([start(processes, *line)]))

    vm_site.patch.setattr(hosts, "_check_unused", check_then_add)
    ended = vm_site.rocks("remove host vmc-0-0 vmc-0-1")
    assert additions == [(0, "")]
    assert ended.status == 1 and "host vmc-0-1 is the container of web" in ended.err, ended
    assert vm_site.rows("SELECT p.Name FROM vm_nodes v JOIN nodes p ON p.ID = v.PhysNode") == [("vmc-0-1",)]
    assert vm_site.rows("SELECT COUNT(*) FROM nodes WHERE Name = 'vmc-0-0'") == [(1,)]


@pytest.mark.slow
@pytest.mark.parametrize("action", ["added", "renamed"])
def test_of_an_alias_and_a_host_of_the_same_name_one_is_stored(site: Site, action: str) -> None:
    """Names and aliases are in two tables, so no key compares them: both were stored, and the alias meant nothing."""
    for number in range(2):
        site.done("add host", f"compute-0-{number}")
    site.database.rollback()
    both_are_there = threading.Barrier(2)
    web = HostParameters("web", membership="Compute", rack="0", rank="7")
    changes: list[Change] = [
        lambda database: add_alias(database, "compute-0-0", "web"),
        lambda database: (
            add_host(database, web) if action == "added" else rename_host(database, "compute-0-1", "web")
        ),
    ]

    def work(change: Change) -> bool:
        with Database(site.database.settings) as database:
            try:
                change(database)
            except UserError:
                return False
            with suppress(threading.BrokenBarrierError):
                both_are_there.wait(1)
            database.commit()
            return True

    assert sorted(at_once(work, changes)) == [False, True]
