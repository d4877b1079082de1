"""The physical hosts of a new cluster: those that its operator names, or VM containers that have room."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import StateError
from rocks.inventory.host_records import find_local_host
from rocks.inventory.loaded_host_records import load_hosts
from rocks.machine.machines import load_containers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rocks.database.connection import Database
    from rocks.inventory.records import Host


def choose_places(
    database: Database, frontend: str | None, computes: Sequence[str] | None, count: int, cpus: int
) -> list[Host]:
    """The host of the frontend, then that of each of `count` computes with so many CPUs.

    Hosts that are named are taken, those of the computes in turn, and each is checked; None chooses. The frontend goes
    to the physical frontend where that runs virtual machines, computes only where no other host does. StateError
    without a host, and the errors of `load_containers`.
    """
    if frontend is not None and computes:
        named = {
            host.name: host for host in load_containers(database, list(dict.fromkeys([frontend, *computes])))
        }
        return [named[name] for name in (frontend, *(computes[i % len(computes)] for i in range(count)))]
    taken, own = _taken_cpus(database), find_local_host(database)
    hosts = {host.name: host for host in load_hosts(database, list(taken)) if host.is_true("kvm")}
    if not hosts:
        raise StateError(
            "the site has no VM container: rocks set host attr HOST kvm true makes a host one, or name hosts by "
            "fe-container= and container-hosts="
        )
    free = {name: host.cpus - taken[name] for name, host in hosts.items()}
    others = {name: number for name, number in free.items() if name != own} or free
    first = frontend or (own if own in hosts else place_in_turn(free, 1, 1)[0])
    turn = (
        [computes[i % len(computes)] for i in range(count)]
        if computes
        else place_in_turn(others, count, cpus)
    )
    missing = [name for name in dict.fromkeys((first, *turn, *(computes or ()))) if name not in hosts]
    hosts |= {host.name: host for host in load_containers(database, missing)}
    return [hosts[name] for name in (first, *turn)]


def place_in_turn(free: Mapping[str, int], count: int, cpus: int) -> list[str]:
    """A host for each of `count` machines: in turn, without hosts that lack free CPUs as long as one has them."""
    left, turn, places = dict(free), list(free), list[str]()
    for _ in range(count):
        place = next((host for host in turn if left[host] >= cpus), turn[0])
        turn.remove(place)
        turn.append(place)
        left[place] -= cpus
        places.append(place)
    return places


def _taken_cpus(database: Database) -> dict[str, int]:
    """Physical host → the CPUs of the machines that are recorded there."""
    rows = database.rows(
        "SELECT p.Name, COALESCE(SUM(n.CPUs), 0) FROM nodes p LEFT JOIN vm_nodes v ON v.PhysNode = p.ID"
        " LEFT JOIN nodes n ON n.ID = v.Node"
        " WHERE NOT EXISTS (SELECT 1 FROM vm_nodes own WHERE own.Node = p.ID) GROUP BY p.ID, p.Name ORDER BY p.ID"
    )
    return {str(name): int(count) for name, count in rows}
