"""Another machine under a known name, and a known machine under another name."""

from nucleus.backends.simulator import Simulator
from nucleus.mirror import identity
from nucleus.mirror.clusters import assign_cluster
from nucleus.mirror.pool import Pool
from nucleus.poller.poller import Poller
from tests.system.nucleus.conftest import sql
from tests.system.nucleus.test_poller import poller, read, simulator

__all__ = ["poller", "simulator"]


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
    assert "vc2" not in read(pool)[0]
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
