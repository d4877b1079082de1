"""Another machine under a known name, and a known machine under another name."""

import threading
from collections.abc import Mapping
from functools import partial

import pytest

from lab.simulator import HOSTS, Guest, Simulator
from nucleus.backends import rocks as commands
from nucleus.backends.executor import Answer
from nucleus.backends.rocks import Rocks
from nucleus.configuration import Configuration
from nucleus.mirror import identity
from nucleus.mirror.clusters import assign_cluster
from nucleus.mirror.pool import Pool
from nucleus.poller.poller import Poller
from tests.system.nucleus.conftest import sql
from tests.system.nucleus.test_poller import poller, read, simulator

__all__ = ["poller", "simulator"]

_LIVING_UUID = "SELECT uuid FROM node WHERE rocks_name = 'vm-vc2-1' AND gone_at IS NULL"


def test_a_new_cluster_of_a_name_is_not_the_former_owners_however_soon_it_is_added(
    poller: Poller, pool: Pool, simulator: Simulator
) -> None:
    poller.poll()
    of_site, nodes = read(pool)
    with pool.transaction() as session:
        alpha = identity.add_project(session, "alpha")
        assign_cluster(session, of_site["vc2"].id, alpha)
    for name in [name for name in simulator.guests if "vc2" in name]:
        simulator.guests.pop(name)
    simulator.add_cluster("vc2", 4)
    poller.poll()
    now = read(pool)
    assert now[0]["vc2"].project_id is None and now[0]["vc2"].id != of_site["vc2"].id
    assert len(now[1]) == 10 and now[1]["vm-vc2-0"].id != nodes["vm-vc2-0"].id


def test_two_clusters_whose_frontends_swap_their_names_stay_their_owners(
    poller: Poller, pool: Pool, simulator: Simulator
) -> None:
    poller.poll()
    before = read(pool)[0]
    with pool.transaction() as session:
        assign_cluster(session, before["vc2"].id, identity.add_project(session, "alpha"))
    first, second = simulator.guests["vc1"], simulator.guests["vc2"]
    first.uuid, second.uuid = second.uuid, first.uuid
    first.mac, second.mac = second.mac, first.mac
    for _ in range(2):
        poller.poll()
    after, nodes = read(pool)
    assert {one.rocks_name: one.id for one in after.values()} == {
        "vc1": before["vc2"].id,
        "vc2": before["vc1"].id,
    }
    assert next(one for one in after.values() if one.rocks_name == "vc1").project_id is not None
    assert len(nodes) == 10


def test_a_cluster_whose_frontend_is_renamed_stays_its_owners(
    poller: Poller, pool: Pool, simulator: Simulator
) -> None:
    """Owners see the new name; also of a compute, unless they have given it one."""
    poller.poll()
    of_site, nodes = read(pool)
    sql(pool, "UPDATE node SET name = 'n1' WHERE name = 'vm-vc2-1'")
    with pool.transaction() as session:
        assign_cluster(session, of_site["vc2"].id, identity.add_project(session, "alpha"))
    names = {"vc2": "vc7", "vm-vc2-0": "vm-vc7-0", "vm-vc2-1": "vm-vc7-1"}
    for guest in [simulator.guests.pop(name) for name in list(simulator.guests)]:
        guest.cluster = names.get(guest.cluster, guest.cluster)
        guest.name = names.get(guest.name, guest.name)
        simulator.guests[guest.name] = guest
    for _ in range(3):
        poller.poll()
    now = read(pool)
    assert now[0]["vc7"].id == of_site["vc2"].id and now[0]["vc7"].project_id is not None
    assert set(now[0]) == {"vc1", "vc7"} and len(now[1]) == 10
    assert now[1]["vm-vc7-0"].id == nodes["vm-vc2-0"].id and now[1]["n1"].rocks_name == "vm-vc7-1"
    assert (changes := poller.poll()) is not None and not changes.touched and not changes.nodes


def _rename(simulator: Simulator, names: Mapping[str, str]) -> None:
    """As `rocks set host name`; two may swap theirs. What is listed under a name is the machine's that has it now."""
    guests = list(simulator.guests.values())
    simulator.guests.clear()
    for guest in guests:
        guest.cluster = names.get(guest.cluster, guest.cluster)
        guest.name = names.get(guest.name, guest.name)
        simulator.guests[guest.name] = guest


def test_a_swap_is_followed_also_where_another_name_has_got_another_case(
    poller: Poller, pool: Pool, simulator: Simulator
) -> None:
    """Both are listed by the same poll."""
    poller.poll()
    before = read(pool)[0]
    with pool.transaction() as session:
        assign_cluster(session, before["vc2"].id, identity.add_project(session, "alpha"))
    _rename(simulator, {"vc1": "vc2", "vc2": "vc1", "vm-vc1-0": "VM-vc1-0"})
    for _ in range(2):
        poller.poll()
    after, nodes = read(pool)
    assert {one.rocks_name: one.id for one in after.values()} == {
        "vc1": before["vc2"].id,
        "vc2": before["vc1"].id,
    }
    assert len(nodes) == 10


def test_owners_act_on_the_machine_that_has_the_name_now(
    poller: Poller, pool: Pool, simulator: Simulator
) -> None:
    """Three computes pass their names on in a ring; one of them has a name that its owner gave it, which stays."""
    poller.poll()
    before = read(pool)[1]
    sql(pool, "UPDATE node SET name = 'mine' WHERE name = 'vm-vc2-1'")
    _rename(
        simulator,
        {"vm-vc2-0": "vm-vc2-1", "vm-vc2-1": "vm-vc2-2", "vm-vc2-2": "vm-vc2-0", "vc1": "vc2", "vc2": "vc1"},
    )
    poller.poll()
    of_site, nodes = read(pool)
    assert {name: one.rocks_name for name, one in of_site.items()} == {"vc1": "vc1", "vc2": "vc2"}
    assert {name: one.id for name, one in nodes.items() if name.startswith(("vm-vc2", "mine"))} == {
        "vm-vc2-0": before["vm-vc2-2"].id,
        "vm-vc2-1": before["vm-vc2-0"].id,
        "mine": before["vm-vc2-1"].id,
        "vm-vc2-3": before["vm-vc2-3"].id,
    }
    assert all(one.rocks_name == name for name, one in nodes.items() if name != "mine")


def test_a_rename_is_followed_also_where_the_machines_are_not_listed(
    poller: Poller, pool: Pool, simulator: Simulator
) -> None:
    """It is not entered as a new cluster: its owner would lose its computes, and their names."""
    poller.poll()
    before = read(pool)
    sql(pool, "UPDATE node SET name = 'n1' WHERE name = 'vm-vc2-1'")
    with pool.transaction() as session:
        assign_cluster(session, before[0]["vc2"].id, identity.add_project(session, "alpha"))
    _rename(simulator, {"vc2": "vc7"})
    for _ in range(2):
        simulator.faults.append((("list", "host", "vm"), lambda: Answer(1, "", "Error: it took too long")))
        poller.poll()
        of_site, nodes = read(pool)
        assert set(of_site) == {"vc1", "vc7"} and nodes["n1"].cluster_id == before[0]["vc2"].id
    hosts = sql(pool, "SELECT name FROM site_host WHERE is_listed ORDER BY name")
    assert hosts == [(name,) for name in HOSTS], "the new name is no host's"
    poller.poll()
    of_site, nodes = read(pool)
    assert of_site["vc7"].id == before[0]["vc2"].id and len(nodes) == 10
    assert nodes["n1"].id == before[1]["vm-vc2-1"].id


def test_a_poll_of_machines_alone_follows_a_swap(poller: Poller, pool: Pool, simulator: Simulator) -> None:
    """Such polls come six times as often as complete ones: both clusters were ended, and their owners lost them."""
    poller.poll()
    before = read(pool)[0]
    with pool.transaction() as session:
        assign_cluster(session, before["vc2"].id, identity.add_project(session, "alpha"))
    _rename(simulator, {"vc1": "vc2", "vc2": "vc1", "vm-vc1-0": "vm-vc1-1", "vm-vc1-1": "vm-vc1-0"})
    poller.poll([commands.VM])
    for _ in range(2):
        after, nodes = read(pool)
        assert {name: one.id for name, one in after.items()} == {
            "vc1": before["vc2"].id,
            "vc2": before["vc1"].id,
        }
        assert after["vc1"].project_id is not None and len(nodes) == 10
        poller.poll()


def test_a_rename_is_followed_also_where_the_former_name_is_listed_as_another_clusters(
    poller: Poller, pool: Pool, simulator: Simulator
) -> None:
    """That was added between two commands of the poll."""
    poller.poll()
    before = read(pool)
    sql(pool, "UPDATE node SET name = 'n1' WHERE name = 'vm-vc2-1'")
    with pool.transaction() as session:
        assign_cluster(session, before[0]["vc2"].id, identity.add_project(session, "alpha"))
    machines, clusters = commands.VM.arguments, commands.CLUSTER.arguments
    _rename(simulator, {"vc2": "vc7"})
    are_listed = threading.Event()

    def list_machines() -> Answer:
        answer = simulator.run(machines, 60)
        simulator.add_cluster("vc2", 0)
        are_listed.set()
        return answer

    def list_clusters() -> Answer:
        assert are_listed.wait(60)
        return simulator.run(clusters, 60)

    simulator.faults += [(machines, list_machines), (clusters, list_clusters)]
    for _ in range(3):
        poller.poll()
        of_site, nodes = read(pool)
        assert of_site["vc7"].id == before[0]["vc2"].id and of_site["vc7"].project_id is not None
        assert nodes["n1"].id == before[1]["vm-vc2-1"].id and of_site["vc2"].project_id is None
        assert nodes["n1"].cluster_id == before[0]["vc2"].id and len(nodes) == 11


def test_a_machine_that_leaves_its_cluster_with_a_new_name_does_not_leave_the_old_one_to_its_owner(
    poller: Poller, pool: Pool, simulator: Simulator
) -> None:
    """Of another cluster's machine of that name the owner had the power, and the console, from then on."""
    poller.poll()
    before = read(pool)
    leaving = simulator.guests.pop("vm-vc2-1")
    leaving.name, leaving.cluster = "x1", ""  # without a frontend it is listed after the site's own
    taking = Guest("vm-vc2-1", "vc1", 99, "52:54:00:00:00:63")
    simulator.guests = {"x1": leaving, **simulator.guests, taking.name: taking}
    for _ in range(3):
        poller.poll()
    nodes = read(pool)[1]
    assert nodes["vm-vc2-1"].cluster_id == before[0]["vc1"].id and "x1" not in nodes
    assert sql(pool, _LIVING_UUID) == [(taking.uuid,)]


def test_a_cluster_whose_frontend_is_renamed_during_two_polls_stays_its_owners(
    poller: Poller, pool: Pool, simulator: Simulator
) -> None:
    """Both list its machines under a name that their list of clusters does not have."""
    poller.poll()
    before = read(pool)[0]
    with pool.transaction() as session:
        assign_cluster(session, before["vc2"].id, identity.add_project(session, "alpha"))
    machines, clusters = commands.VM.arguments, commands.CLUSTER.arguments
    for old, new in (("vc2", "vc7"), ("vc7", "vc8")):
        _rename(simulator, {old: new})
        listed_then = simulator.run(clusters, 60)
        _rename(simulator, {new: f"{new}9"})
        listed_later = simulator.run(machines, 60)
        _rename(simulator, {f"{new}9": new})
        simulator.faults += [
            (clusters, partial(_same, listed_then)),
            (machines, partial(_same, listed_later)),
        ]
        poller.poll()
    for _ in range(2):
        poller.poll()
    assert read(pool)[0]["vc8"].id == before["vc2"].id


def test_a_name_is_not_taken_from_a_machine_whose_own_new_name_is_in_one_list_only(
    poller: Poller, pool: Pool, simulator: Simulator
) -> None:
    """Two have swapped theirs, and one gets a third name between two commands: its cluster was ended."""
    poller.poll()
    before = read(pool)[0]
    with pool.transaction() as session:
        assign_cluster(session, before["vc2"].id, identity.add_project(session, "alpha"))
    machines = commands.VM.arguments
    _rename(simulator, {"vc1": "vc2", "vc2": "vc1"})
    simulator.faults.append((machines, partial(_same, simulator.run(machines, 60))))
    _rename(simulator, {"vc1": "vc9"})
    poller.poll()
    for _ in range(2):
        poller.poll()
    after = read(pool)[0]
    assert {name: one.id for name, one in after.items()} == {"vc2": before["vc1"].id, "vc9": before["vc2"].id}


@pytest.mark.parametrize("lists_uuids", [True, False])
def test_a_machine_without_a_uuid_is_the_one_with_its_name(
    poller: Poller, pool: Pool, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, lists_uuids: bool
) -> None:
    """As in a mirror of before, which gets them, or with the published `rocks`, which has none."""
    poller.poll()
    before = read(pool)
    with pool.transaction() as session:
        assign_cluster(session, before[0]["vc2"].id, identity.add_project(session, "alpha"))
        if lists_uuids:
            session.execute("UPDATE node SET uuid = NULL")
    if not lists_uuids:
        run = simulator.run
        published = lambda *given: (one := run(*given))._replace(out=one.out.replace('"uuid"', '"x"'))  # noqa: E731
        monkeypatch.setattr(simulator, "run", published)
    again = Poller(Configuration(), Rocks(simulator, 60), poller._guard)
    for _ in range(2):
        again.poll()
    after = read(pool)
    assert {name: one.id for name, one in after[1].items()} == {
        name: one.id for name, one in before[1].items()
    }
    assert after[0]["vc2"].project_id is not None
    uuids = {one.name: one.uuid for one in simulator.guests.values()}
    assert dict(sql(pool, "SELECT rocks_name, uuid FROM node")) == uuids
    gone = [simulator.guests.pop(name) for name in list(simulator.guests) if "vc2" in name]
    for _ in range(2):
        again.poll()
    simulator.guests.update({one.name: one for one in gone})
    again.poll()
    project = read(pool)[0]["vc2"].project_id
    assert (project is not None) is lists_uuids, "nobody knows whether it is the former one"


def _same(answer: Answer) -> Answer:
    return answer
