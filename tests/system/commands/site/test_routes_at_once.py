"""Routes and interfaces that are changed at the same moment, by processes of their own."""

from tests.system.commands.conftest import Site
from tests.system.commands.test_at_once import ends, processes, start

__all__ = ["processes"]


def test_of_two_that_add_the_same_route_one_succeeds(site: Site, processes: dict[str, str]) -> None:
    site.done("add host compute-0-0")
    for kind in (["route"], ["host", "route", "compute-0-0"]):
        for number in range(3):
            line = ["add", *kind, f"10.{number + 2}.0.0", "private", "netmask=255.255.0.0"]
            outcomes = ends([start(processes, *line) for _ in range(2)])
            assert sorted(status for status, _ in outcomes) == [0, 1], outcomes
            (message,) = [error for status, error in outcomes if status]
            assert message.startswith("Error: route exists") and "Traceback" not in message


def test_two_swaps_at_once_are_two_swaps(site: Site, processes: dict[str, str]) -> None:
    site.done("add host compute-0-0")
    for number in range(2):
        site.done("add host interface compute-0-0", f"eth{number}", f"mac=52:54:00:00:00:0{number}")
    before = site.done("list host interface")
    line = ["swap", "host", "interface", "compute-0-0", "ifaces=eth0,eth1", "sync-config=no"]
    outcomes = ends([start(processes, *line) for _ in range(2)])
    assert [status for status, _ in outcomes] == [0, 0], outcomes
    assert site.done("list host interface") == before
