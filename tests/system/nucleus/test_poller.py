"""The poller on a real database; the site is simulated."""

import json
import time
from collections.abc import Sequence
from uuid import uuid4

import pytest

from lab.simulator import HOSTS, Simulator
from nucleus.backends import rocks as commands
from nucleus.backends.executor import Answer
from nucleus.backends.rocks import Rocks
from nucleus.configuration import Configuration, DatabaseSettings, SiteSettings
from nucleus.mirror import clusters, events, history, identity, observations
from nucleus.mirror.clusters import assign_cluster
from nucleus.mirror.pool import Guard, Pool
from nucleus.poller.poller import Poller
from nucleus.records import SYSTEM, Cluster, Node, Scope
from owners.computesets import records as computesets
from owners.images import records as images
from rocks.core.errors import HostError, ToolError
from tests.system.nucleus.conftest import sql
from tests.waiting import wait_until


@pytest.fixture
def simulator() -> Simulator:
    """Clusters vc1 and vc2 of four computes each."""
    return Simulator()


@pytest.fixture
def poller(lease: Guard, simulator: Simulator) -> Poller:
    """A poller that has the lease."""
    settings = Configuration(site=SiteSettings("9.9.9.9", "", "ntp.example.org"))
    return Poller(settings, Rocks(simulator, 60), lease)


def read(pool: Pool) -> tuple[dict[str, Cluster], dict[str, Node]]:
    """Clusters and nodes by their names."""
    with pool.transaction() as session:
        found = clusters.list_clusters(session, SYSTEM)
        nodes = clusters.nodes_of(session, SYSTEM, [one.id for one in found])
    return {one.name: one for one in found}, {n.name: n for of_one in nodes.values() for n in of_one}


def test_an_empty_mirror_is_filled_and_a_second_poll_changes_nothing(poller: Poller, pool: Pool) -> None:
    poller.poll()
    of_site, nodes = read(pool)
    assert list(of_site) == ["vc1", "vc2"] and len(nodes) == 10
    assert sql(pool, "SELECT name FROM site_host WHERE is_listed ORDER BY name") == [
        (name,) for name in HOSTS
    ]
    assert of_site["vc1"].vlan == 4 and of_site["vc1"].project_id is None
    frontend = nodes["vc1"]
    assert (frontend.kind, frontend.gateway, frontend.dns1) == ("frontend", "203.0.113.1", "9.9.9.9")
    compute = nodes["vm-vc2-3"]
    assert (compute.state, compute.image_state, compute.image_locked) == ("nostate-error", "unmapped", False)
    assert (compute.cpus, compute.memory_mb, compute.disk_gb) == (2, 2048, 36)
    with pool.transaction() as session:
        interfaces = clusters.interfaces_of(session, SYSTEM, [of_site["vc1"].id])[nodes["vc1"].id]
        assert [one.subnet for one in interfaces] == ["private", "public"]
        states = observations.read_sources(session)
        assert len(states) == 5 and all(one.observed and not one.failures for one in states)
    changes = poller.poll()
    assert changes is not None and not changes.touched and not changes.nodes
    assert read(pool)[0]["vc1"].generation == of_site["vc1"].generation


def test_a_name_in_another_case_is_the_same_cluster(
    poller: Poller, pool: Pool, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after `rocks set host name vc1 VC1`; each later poll failed."""
    poller.poll()
    number, run = read(pool)[0]["vc1"].id, simulator.run
    renamed = lambda *given: (one := run(*given))._replace(out=one.out.replace('"vc1"', '"VC1"'))  # noqa: E731
    monkeypatch.setattr(simulator, "run", renamed)
    poller.poll()
    assert len(read(pool)[1]) == 10 and sql(
        pool, "SELECT rocks_name FROM cluster WHERE id = %s", [number]
    ) == [("VC1",)]
    assert (changes := poller.poll()) is not None and not changes.touched and not changes.nodes


def test_a_change_is_seen_with_its_event_in_its_cluster_only(
    poller: Poller, pool: Pool, simulator: Simulator
) -> None:
    poller.poll()
    before = read(pool)[0]
    with pool.transaction() as session:
        last = events.last_event(session)
    simulator.run(["start", "host", "vm", "vc1"], 60)
    poller.poll([commands.VM])
    after, nodes = read(pool)
    assert nodes["vc1"].state == "active"
    assert after["vc1"].generation > before["vc1"].generation
    assert after["vc2"].generation == before["vc2"].generation
    with pool.transaction() as session:
        found = events.events_after(session, SYSTEM, last)
    assert [(one.type, one.target, one.new) for one in found] == [("node.power", "vc1/vc1", "active")]


def test_the_owners_of_a_cluster_see_its_events_from_its_assignment_on(
    poller: Poller, pool: Pool, simulator: Simulator
) -> None:
    """Not only after the next poll of the topology, which may be minutes away."""
    poller.poll()
    before = read(pool)[0]
    with pool.transaction() as session:
        last = events.last_event(session)
        project = identity.add_project(session, "alpha")
        assign_cluster(session, before["vc1"].id, project)
    simulator.run(["start", "host", "vm", "vc1"], 60)
    poller.poll([commands.VM])
    with pool.transaction() as session:
        assert [one.project_id for one in events.events_after(session, SYSTEM, last)] == [project]


@pytest.mark.slow
def test_commands_that_take_longer_than_the_lease_lose_nothing(
    nucleus_settings: DatabaseSettings, pool: Pool, simulator: Simulator
) -> None:
    """The server frees the lock of a connection without a word; meanwhile the poller only waits for the site."""

    class Slow(Simulator):
        def run(self, arguments: Sequence[str], deadline_seconds: float) -> Answer:
            time.sleep(4)
            return simulator.run(arguments, deadline_seconds)

    guard = Guard(nucleus_settings, "poller", lease_seconds=1)
    assert guard.take()
    Poller(Configuration(), Rocks(Slow(), 60), guard).poll()
    guard.release()
    assert list(read(pool)[0]) == ["vc1", "vc2"]


def _fault(simulator: Simulator, *begin: str, answer: Answer | None = None) -> None:
    def hang() -> Answer:
        raise ToolError("rocks did not end within 60 s and was killed")

    simulator.faults.append((begin, hang if answer is None else lambda: answer))


_HALF = json.dumps([{"vm-host": "vc1", "vm": [{"mem": 1}]}])[:20]
_OTHER = json.dumps([{"vm-host": "vc1", "vm": [{"memory": 2048}]}])


@pytest.mark.parametrize(
    "answer",
    [
        None,
        Answer(0, "", ""),
        Answer(0, _HALF, ""),
        Answer(0, _OTHER, ""),
        Answer(1, "", "Error: no"),
        Answer(-9, "", ""),
    ],
    ids=["hangs", "nothing", "half a line", "other columns", "fails", "killed"],
)
def test_a_command_that_fails_leaves_its_values_and_the_others_count(
    poller: Poller, pool: Pool, simulator: Simulator, answer: Answer | None
) -> None:
    poller.poll()
    before = read(pool)[1]["vc1"].state
    simulator.run(["start", "host", "vm", "vc1"], 60)
    simulator.guests["vm-vc1-0"].image = "mapped"
    _fault(simulator, "list", "host", "vm", answer=answer)
    poller.poll()
    of_site, nodes = read(pool)
    assert nodes["vc1"].state == before and nodes["vm-vc1-0"].image_state == "mapped"
    assert of_site["vc1"].observed_image > of_site["vc1"].observed_power, "its age is visible"
    with pool.transaction() as session:
        (failed,) = [one for one in observations.read_sources(session) if one.failures]
    assert failed.name == "vm" and failed.last_error
    poller.poll()
    assert read(pool)[1]["vc1"].state == "active"


def test_it_is_noted_since_when_a_node_has_its_power(
    poller: Poller, pool: Pool, simulator: Simulator
) -> None:
    """By poller and workers; a host that does not answer for a while changes nothing, and it is noted since when."""
    guest = simulator.guests["vm-vc2-0"]

    def polled(state: str) -> Node:
        guest.host, guest.state = HOSTS[0], state
        poller.poll()
        return read(pool)[1]["vm-vc2-0"]

    def recorded(state: str) -> Node:
        with pool.transaction() as session:
            observations.record_state(session, on, "vc2", None, state, HOSTS[0])
        return read(pool)[1]["vm-vc2-0"]

    first, on = polled("nostate"), polled("active")
    assert (first.last_power, first.power_since, on.last_power) == ("off", None, "on")
    away = [polled("nostate-error"), polled("nostate-error"), polled("active")]
    away += [recorded("nostate-error"), recorded("nostate-error"), recorded("active")]
    for found in away:
        assert (found.last_power, found.power_since) == ("on", on.power_since) and on.power_since is not None
    first_times, later_times = ({one.unknown_since for one in those} for those in (away[:3], away[3:]))
    assert on.unknown_since is None and len(first_times) == len(later_times) == 1
    assert None not in first_times | later_times and first_times != later_times
    with pool.transaction() as session:
        session.update("node", {"last_power": None, "power_since": None}, id=on.id)
    assert polled("active").power_since is None  # it may have run for long
    off = recorded("nostate")
    assert (
        off.last_power == "off"
        and off.power_since is not None
        and on.power_since
        and off.power_since > on.power_since
    )


@pytest.mark.parametrize("is_same", [True, False])
def test_a_machine_that_is_gone_and_comes_back_is_its_owners_if_it_is_the_same(
    poller: Poller, pool: Pool, simulator: Simulator, is_same: bool
) -> None:
    """As while a dump is loaded into an empty database, where the machines get their UUIDs again."""
    poller.poll()
    with pool.transaction() as session:
        alpha = session.insert("project", {"name": "alpha"})
        session.update("cluster", {"project_id": alpha}, name="vc2")
        session.execute("UPDATE node SET name = 'n0' WHERE name = 'vm-vc2-0'")
    gone = [simulator.guests.pop(name) for name in list(simulator.guests) if "vc2" in name]
    poller.poll()
    before = read(pool)[0].get("vc2")
    assert before is not None, "one poll proves nothing"
    _fault(simulator, "list", "host", "route")
    poller.poll()
    assert "vc2" in read(pool)[0], "nor does one that is not complete"
    poller.poll()
    of_site, nodes = read(pool)
    assert set(of_site) == {"vc1"} and len(nodes) == 5
    with pool.transaction() as session:
        removed = events.events_after(session, Scope(None, frozenset({alpha})), 0, types=["node.removed"])
    assert sorted(one.target for one in removed) == [
        "vc2/n0",
        "vc2/vc2",
        *(f"vc2/vm-vc2-{n}" for n in (1, 2, 3)),
    ]
    for one in gone:
        one.uuid = one.uuid if is_same else str(uuid4())
    simulator.guests.update({one.name: one for one in gone})
    poller.poll()
    after, nodes = read(pool)
    if is_same:
        assert after["vc2"].id == before.id and after["vc2"].project_id is not None
        assert "n0" in nodes and "vm-vc2-0" not in nodes and len(nodes) == 10
    else:
        assert after["vc2"].project_id is None and "vm-vc2-0" in nodes and "n0" not in nodes
    assert (changes := poller.poll()) is not None and not changes.touched and not changes.clusters


def test_what_was_removed_long_ago_is_forgotten_and_is_new_when_it_comes_back(
    poller: Poller, pool: Pool, simulator: Simulator
) -> None:
    """Each reservation of a user makes a cluster and its nodes. One with computesets stays, for their charges."""
    poller.poll()
    of_site, nodes = read(pool)
    with pool.transaction() as session:
        new = computesets.NewComputeset(
            of_site["vc1"].id, (nodes["vm-vc1-0"].id,), "ann", "a", None, 60, "ann"
        )
        computesets.release_nodes(session, computesets.insert_computeset(session, new))
    gone = dict(simulator.guests)
    remaining = {"vc1", "vm-vc1-0"}
    for name in [name for name in gone if name not in remaining]:
        del simulator.guests[name]
    for _ in range(2):
        poller.poll()
    assert set(read(pool)[0]) == {"vc1"} and set(read(pool)[1]) == remaining
    with pool.transaction() as session:
        for table in ("cluster", "node"):
            session.execute(
                f"UPDATE {table} SET gone_at = gone_at - INTERVAL 366 DAY WHERE gone_at IS NOT NULL"
            )
    poller._shorten_history()
    assert sql(pool, "SELECT name FROM cluster") == [("vc1",)]
    assert sorted(sql(pool, "SELECT name FROM node")) == [("vc1",), ("vm-vc1-0",)]
    simulator.guests.update(gone)
    poller.poll()
    assert set(read(pool)[0]) == {"vc1", "vc2"} and set(read(pool)[1]) == set(gone)
    poller._shorten_history()
    assert set(read(pool)[0]) == {"vc1", "vc2"}
    with pool.transaction() as session:
        session.execute("UPDATE cluster SET gone_at = UTC_TIMESTAMP(3) - INTERVAL 366 DAY WHERE name = 'vc1'")
        session.execute("DELETE FROM computeset_node")
        session.execute(
            "UPDATE node SET gone_at = UTC_TIMESTAMP(3) - INTERVAL 366 DAY WHERE cluster_id = %s",
            (of_site["vc1"].id,),
        )
        history.forget_old(session, 365)
    assert sql(pool, "SELECT COUNT(*) FROM cluster WHERE name = 'vc1'") == [(1,)]


def test_a_new_cluster_of_a_used_name_has_none_of_the_computesets_of_the_former_one(
    poller: Poller, pool: Pool, simulator: Simulator
) -> None:
    poller.poll()
    of_site, nodes = read(pool)
    with pool.transaction() as session:
        alpha, beta = (identity.add_project(session, name) for name in ("alpha", "beta"))
        assign_cluster(session, of_site["vc2"].id, alpha)
        node = nodes["vm-vc2-0"].id
        new = computesets.NewComputeset(of_site["vc2"].id, (node,), "ann", "alp1", None, 60, "ann")
        number = computesets.insert_computeset(session, new)
        computesets.release_nodes(session, number)
        begin = "start_time = UTC_TIMESTAMP(3) - INTERVAL 2 HOUR"
        ended = f"{begin}, ended_at = UTC_TIMESTAMP(3) - INTERVAL 1 HOUR"
        session.update("computeset", {"state": "completed"}, ended, id=number)
    gone = [simulator.guests.pop(name) for name in list(simulator.guests) if "vc2" in name]
    for _ in range(2):
        poller.poll()
    simulator.add_cluster("vc2", len(gone) - 1)
    poller.poll()
    now = read(pool)[0]
    for again in (poller, Poller(Configuration(), Rocks(simulator, 60), poller._guard)):
        changes = again.poll()
        assert changes is not None and not changes.touched and not changes.new_clusters
    with pool.transaction() as session:
        assign_cluster(session, now["vc2"].id, beta)
        former, present = (Scope(None, frozenset({one})) for one in (alpha, beta))
        assert [one.id for one in computesets.list_computesets(session, former)] == [number]
        assert computesets.list_computesets(session, present) == []
        assert list(clusters.nodes_by_id(session, former, [node])) == [node], "the nodes of the set, too"
        assert clusters.nodes_by_id(session, present, [node]) == {}
        charges = [
            (one.project, one.cluster, one.charged_seconds) for one in computesets.charges(session, SYSTEM)
        ]
        assert charges == [("alpha", "vc2", 3600)]
        assert [one.name for one in clusters.list_clusters(session, present)] == ["vc2"]


def test_names_and_macs_that_change_places(poller: Poller, pool: Pool, simulator: Simulator) -> None:
    poller.poll()
    sql(pool, "UPDATE node SET name = 'vm-vc1-4' WHERE name = 'vm-vc1-0'")
    first, second = simulator.guests["vm-vc1-0"], simulator.guests["vm-vc1-1"]
    first.mac, second.mac = second.mac, first.mac
    second.cluster = "vc2"
    simulator._add("vm-vc1-4", "vc1", None)
    poller.poll()
    of_site, nodes = read(pool)
    assert nodes["vm-vc1-4"].rocks_name == "vm-vc1-0", "its owner's name stays"
    assert nodes["vm-vc1-4-2"].rocks_name == "vm-vc1-4"
    assert nodes["vm-vc1-1"].cluster_id == of_site["vc2"].id
    with pool.transaction() as session:
        found = clusters.interfaces_of(session, SYSTEM, [one.id for one in of_site.values()])
    assert (
        found[nodes["vm-vc1-4"].id][0].mac == first.mac and found[nodes["vm-vc1-1"].id][0].mac == second.mac
    )


def test_a_database_that_is_away_during_a_poll(poller: Poller, pool: Pool, simulator: Simulator) -> None:
    poller.poll()
    simulator.run(["start", "host", "vm", "vc1"], 60)

    def killed() -> Answer:
        with pool.transaction() as session:
            for (number,) in session.rows(
                "SELECT ID FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID() AND DB = DATABASE()"
            ):
                session.execute(f"KILL {number}")
        return simulator.run(["list", "host", "vm", "json=yes"], 60)

    simulator.faults.append((("list", "host", "vm"), killed))
    with pytest.raises(HostError):
        poller.poll()
    wait_until(
        poller._guard.take, "the lease, which nobody else has taken,"
    )  # the server ends connections in its own time
    poller.poll()
    assert read(pool)[1]["vc1"].state == "active"


def test_what_a_poll_knows_is_what_the_mirror_has(poller: Poller, pool: Pool, simulator: Simulator) -> None:
    """It reads all of the mirror once only: another poller, which reads it all, finds the same and changes nothing."""
    poller.poll()
    simulator._add("vm-vc1-4", "vc1", None)
    simulator.guests["vm-vc1-1"].cluster = "vc2"
    simulator.guests["vm-vc1-2"].mac = "52:54:00:ff:00:01"
    removed = simulator.guests.pop("vm-vc2-3")
    simulator.run(["start", "host", "vm", "vc1"], 60)
    for _ in range(2):
        poller.poll()
    simulator.guests[removed.name] = removed
    node = read(pool)[1]["vc2"]
    with pool.transaction() as session:
        observations.record_state(session, node, "vc2", None, "active", "elsewhere")
        session.execute("UPDATE node SET name = 'mine' WHERE rocks_name = 'vm-vc1-0'")
    # a poll that begins in the millisecond of a command does not know whether it was before
    time.sleep(0.005)
    poller.poll()
    seen = poller.poll()
    assert seen is not None and not seen.touched, "nothing is changed twice"
    before = {name: one.generation for name, one in read(pool)[0].items()}
    everything = Poller(Configuration(), Rocks(simulator, 60), poller._guard).poll()
    assert everything is not None and not everything.touched and not everything.nodes
    assert "mine" in read(pool)[1] and read(pool)[1]["vc2"].state == "nostate"
    assert {name: one.generation for name, one in read(pool)[0].items()} == before


def test_the_isos_of_the_library_are_offered_to_all(poller: Poller, pool: Pool, simulator: Simulator) -> None:
    simulator.library.update({"debian-12.iso": 700, "nucleus-7.iso": 5, "of-ann.iso": 9})
    with pool.transaction() as session:
        user = identity.add_user(session, "ann", "", "", "", False)
        session.execute(
            "INSERT INTO image (name, size_bytes, state, uploaded_by) VALUES ('of-ann.iso', 3, 'ready', %s)",
            (user,),
        )
        last = events.last_event(session)

    def look() -> dict[str, int]:
        poller.poll([commands.LIBRARY])
        with pool.transaction() as session:
            return {one.text: one.size_bytes for one in images.list_images(session, SYSTEM)}

    assert look() == {"public/debian-12.iso": 700, "public/of-ann.iso": 3}
    with pool.transaction() as session:
        ((number,),) = session.rows("SELECT id FROM image WHERE name = 'debian-12.iso'")
        found = images.image_by_id(session, number)
        assert found is not None and found.library_name == "debian-12.iso"
    simulator.guests["vc1"].iso = "image=debian-12.iso"
    poller.poll()
    assert read(pool)[1]["vc1"].iso == "public/debian-12.iso"
    simulator.library["debian-12.iso"] = 800
    assert look()["public/debian-12.iso"] == 800
    _fault(simulator, "list", "image", answer=Answer(1, "", "Error: the library cannot be read"))
    assert look()["public/debian-12.iso"] == 800, "what is not known is not gone"
    del simulator.library["debian-12.iso"]
    assert look() == look() == {"public/of-ann.iso": 3}
    with pool.transaction() as session:
        found = [(one.type, one.target) for one in events.events_after(session, SYSTEM, last)]
    assert found.count(("image.added", "public/debian-12.iso")) == 2
    assert found[-1] == ("image.removed", "public/debian-12.iso")


def test_answers_that_are_older_than_a_day_are_forgotten(poller: Poller, pool: Pool) -> None:
    with pool.transaction() as session:
        session.insert_many(
            "INSERT INTO idempotency (actor, key_text, request_hash, created) VALUES",
            [("ann", "old", bytes(32), "2020-01-01"), ("ann", "new", bytes(32), "2099-01-01")],
        )
    poller.poll()
    assert sql(pool, "SELECT key_text FROM idempotency") == [("new",)]


def test_texts_that_cannot_be_stored_stop_no_poll(lease: Guard, simulator: Simulator, pool: Pool) -> None:
    def refuse(_: Guard) -> None:
        raise HostError("the disk of the database is full")

    assert Poller(Configuration(), Rocks(simulator, 60), lease, refuse).poll() is not None
    assert list(read(pool)[0]) == ["vc1", "vc2"]


def test_large_texts_are_stored_one_by_one(poller: Poller, pool: Pool) -> None:
    """Together they are more than the database takes at once."""
    poller.poll()
    found = list(read(pool)[0].values())
    texts = {one.id: b"x" * 7_500_000 for one in found}
    with pool.transaction() as session:
        clusters.store_texts(session, found, "0" * 16, texts)
        assert clusters.read_texts(session, found[:1], "0" * 16) == {found[0].id: texts[found[0].id]}


def test_a_cluster_gets_a_name_that_none_has_however_often_the_site_has_used_it(
    poller: Poller, pool: Pool, simulator: Simulator
) -> None:
    """Clusters keep their names when the site renames them."""
    poller.poll()
    with pool.transaction() as session:
        session.update("cluster", {"name": "vc9"}, rocks_name="vc1")
        session.update("cluster", {"name": "vc9-rocks"}, rocks_name="vc2")
    simulator.add_cluster("vc9", 1)
    poller.poll()
    of_site, nodes = read(pool)
    assert set(of_site) == {"vc9", "vc9-rocks", "vc9-rocks-2"} and "vm-vc9-0" in nodes
