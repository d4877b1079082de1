"""The schema of Nucleus: made once, after interruptions too; who sees what; operations and sets."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from lab.simulator import Simulator
from nucleus.backends.rocks import Rocks
from nucleus.cli.main import main
from nucleus.configuration import Configuration, DatabaseSettings
from nucleus.mirror import clusters, driver, events, identity, operations
from nucleus.mirror.driver import DuplicateError
from nucleus.mirror.migrate import check_version, load_migrations, set_up
from nucleus.mirror.pool import Guard, Pool
from nucleus.poller.poller import Poller
from nucleus.records import SYSTEM, NewEvent, NewOperation, Scope
from owners.computesets import records as computesets
from rocks.core.errors import BusyError, HostError, StateError
from tests.system.nucleus.conftest import add_cluster, compute_numbers, sql
from tests.waiting import wait_until

_STRANGER = Scope(7, frozenset({4711}))


def test_a_schema_is_made_and_left_alone_when_it_is_there(absent_schema: DatabaseSettings) -> None:
    newest = load_migrations()[-1][0]
    with pytest.raises(StateError, match="nucleus setup"), Pool(absent_schema).transaction():
        pass
    assert set_up(absent_schema) == (0, newest)
    assert set_up(absent_schema) == (newest, newest)
    with Pool(absent_schema).transaction() as session:
        check_version(session)


def test_a_statement_that_takes_long_is_ended_and_the_server_is_not_silent(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert driver.LOCK_WAIT_SECONDS < driver.STATEMENT_SECONDS < driver.SILENCE_SECONDS
    monkeypatch.setattr(driver, "STATEMENT_SECONDS", 0.5)
    with closing(Pool(replace(pool.settings, connections=1))) as hasty:
        for begin in (hasty.reading, hasty.transaction):
            with pytest.raises(HostError, match="took longer than 0.5 s"), begin() as session:
                session.row("SELECT SLEEP(60)")
            with begin() as session:
                assert session.value("SELECT 1") == 1, "the next one on the same connection"
    running = (
        "SELECT 1 FROM information_schema.processlist WHERE db = DATABASE() AND info LIKE 'SELECT SLEEP%'"
    )
    assert sql(pool, running) == []


def test_an_interrupted_setup_is_finished_by_the_next(absent_schema: DatabaseSettings) -> None:
    set_up(absent_schema)
    with Pool(absent_schema).transaction() as session:
        session.execute("UPDATE schema_version SET done = 9, finished = NULL")
        session.execute("DROP TABLE event")
    with Pool(absent_schema).transaction() as session, pytest.raises(StateError, match="nucleus setup"):
        check_version(session)
    set_up(absent_schema)
    with Pool(absent_schema).transaction() as session:
        assert events.last_event(session) == 0


def test_computesets_of_before_belong_to_the_project_that_started_them(
    absent_schema: DatabaseSettings,
) -> None:
    """As its operation says; one without such an operation to the project that has the cluster."""
    set_up(absent_schema)
    with Pool(absent_schema).transaction() as session:
        number = add_cluster(session, "vc2", 2, "alpha")
        node, another = compute_numbers(session, number)
        alpha = session.value("SELECT id FROM project")
        old = computesets.insert_computeset(session, _new_set(number, (node,)))
        older = computesets.insert_computeset(session, _new_set(number, (another,)))
        start = NewOperation("start_set", "ann", number, target_set=old, project_id=alpha)
        operations.insert_operation(session, start)
        beta = identity.add_project(session, "beta")
        clusters.assign_cluster(session, number, beta)
        session.execute("DELETE FROM schema_version WHERE version = 14")
        session.execute("ALTER TABLE computeset DROP COLUMN project_id")
    set_up(absent_schema)
    with Pool(absent_schema).transaction() as session:
        found = session.rows("SELECT id, project_id FROM computeset ORDER BY id")
        assert found == [(old, alpha), (older, beta)]


@pytest.mark.parametrize("has_uuids", [True, False])
def test_machines_of_before_are_known_by_their_uuids_and_stay_their_owners(
    absent_schema: DatabaseSettings, has_uuids: bool
) -> None:
    """Of two rows with one UUID, the machine that is there has it."""
    set_up(absent_schema)
    simulator, guard = Simulator(), Guard(absent_schema, "poller")
    assert guard.take()
    Poller(Configuration(), Rocks(simulator, 60), guard).poll()
    living = "SELECT id, cluster_id, uuid FROM node WHERE gone_at IS NULL ORDER BY id"
    with Pool(absent_schema).transaction() as session:
        session.execute("UPDATE cluster SET project_id = %s", (identity.add_project(session, "alpha"),))
        before = session.rows(living)
        session.execute(
            "INSERT INTO node (cluster_id, kind, name, rocks_name, gone_at)"
            " SELECT cluster_id, kind, name, CONCAT(rocks_name, '~1'), UTC_TIMESTAMP(3) FROM node"
        )
        session.execute(
            "ALTER TABLE node DROP INDEX uuid, DROP INDEX names_in_rocks, ADD UNIQUE (rocks_name)"
        )
        session.execute(
            "ALTER TABLE cluster ADD UNIQUE (rocks_name), ADD missing_polls INT NOT NULL DEFAULT 0"
        )
        session.execute("DELETE FROM schema_version WHERE version = 20")
        if has_uuids:
            session.execute(
                "UPDATE node gone JOIN node n ON gone.rocks_name = CONCAT(n.rocks_name, '~1') SET gone.uuid = n.uuid"
            )
        else:
            session.execute("ALTER TABLE node DROP COLUMN uuid")
            session.execute("DELETE FROM schema_version WHERE version = 17")
    set_up(absent_schema)
    Poller(Configuration(), Rocks(simulator, 60), guard).poll()
    guard.release()
    with Pool(absent_schema).transaction() as session:
        assert session.rows(living) == before
        assert session.column("SELECT project_id IS NULL FROM cluster") == [0, 0]
        assert session.value("SELECT COUNT(uuid) FROM node") == len(before) == 10


def test_a_schema_of_another_system_and_a_newer_one_are_refused(absent_schema: DatabaseSettings) -> None:
    set_up(absent_schema)
    with Pool(absent_schema).transaction() as session:
        session.execute("INSERT INTO schema_version (version, finished) VALUES (9999, UTC_TIMESTAMP(3))")
    with pytest.raises(StateError, match="newer programs"):
        set_up(absent_schema)
    with Pool(absent_schema).transaction() as session:
        session.execute("DROP TABLE schema_version")
    with pytest.raises(StateError, match="did not make"):
        set_up(absent_schema)


def test_the_command_says_what_it_made(
    absent_schema: DatabaseSettings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for key in ("socket", "name", "user"):
        monkeypatch.setenv(f"NUCLEUS_DATABASE_{key.upper()}", getattr(absent_schema, key))
    assert main(["setup"]) == 0
    assert f"schema {absent_schema.name}" in capsys.readouterr().out
    monkeypatch.setenv("NUCLEUS_DATABASE_SOCKET", "/absent.sock")
    assert main(["setup"]) == 1
    assert "cannot reach" in capsys.readouterr().err


def test_a_stranger_s_answers_are_those_of_names_that_do_not_exist(pool: Pool, cluster_number: int) -> None:
    with pool.transaction() as session:
        owner = Scope(1, frozenset({row[0] for row in session.rows("SELECT id FROM project")}))
        nodes = compute_numbers(session, cluster_number)
        number = computesets.insert_computeset(session, _new_set(cluster_number, nodes[:2]))
        asked = operations.insert_operation(
            session, NewOperation("poweron", "ann", cluster_number, nodes[0], project_id=min(owner.projects))
        )
        for scope, sees in (
            (owner, True),
            (SYSTEM, True),
            (_STRANGER, False),
            (Scope(1, frozenset()), False),
        ):
            assert bool(clusters.list_clusters(session, scope)) is sees
            assert bool(clusters.find_cluster(session, scope, "vc2")) is sees
            assert bool(clusters.nodes_of(session, scope, [cluster_number])) is sees
            assert bool(clusters.find_node(session, scope, cluster_number, "vm-vc2-1")) is sees
            assert bool(computesets.find_computeset(session, scope, number)) is sees
            assert bool(operations.find_operation(session, scope, asked.id)) is sees
            assert bool(operations.list_operations(session, scope)) is sees
        names = [node.name for node in clusters.nodes_of(session, owner, [cluster_number])[cluster_number]]
        assert names == ["vc2", *(f"vm-vc2-{n}" for n in range(4))]


def _new_set(cluster: int, nodes: tuple[int, ...]) -> computesets.NewComputeset:
    return computesets.NewComputeset(cluster, nodes, "ann", "alp1", None, 60, "ann")


def test_of_two_sets_at_once_one_gets_the_node(pool: Pool, cluster_number: int) -> None:
    barrier = threading.Barrier(2)
    with pool.transaction() as session:
        a, b, c, _ = compute_numbers(session, cluster_number)

    def take(nodes: tuple[int, ...]) -> str:
        barrier.wait(60)
        try:
            with pool.transaction() as session:
                computesets.insert_computeset(session, _new_set(cluster_number, nodes))
            return "made"
        except DuplicateError:
            return "refused"

    with ThreadPoolExecutor(2) as threads:
        assert sorted(threads.map(take, [(a, b), (b, c)])) == ["made", "refused"]
    with pool.transaction() as session:
        living = computesets.living_sets(session)
        assert len(living) == 1 and len(living[0].node_ids) == 2
        again = computesets.living_sets(session, living)
        assert again[0] is living[0], "what has not changed is not read again"
        assert computesets.request_end(session, living[0].id, "shutdown")
        assert computesets.living_sets(session, again)[0].cancel_requested == "shutdown"
        computesets.release_nodes(session, living[0].id)
        computesets.insert_computeset(session, _new_set(cluster_number, (a, b, c)))


def test_sets_that_the_batch_system_refused_hide_no_charges(pool: Pool, cluster_number: int) -> None:
    """They are never charged, and would be asked about for 30 days before those that are. Nor do those without one."""
    insert = (
        "INSERT INTO computeset (cluster_id, name, account, node_count, walltime_minutes, state, requested_by, jobid,"
        " ended_at) VALUES (%s, %s, 'alp1', 1, 60, %s, 'ann', %s, UTC_TIMESTAMP(3))"
    )
    with pool.transaction() as session:
        session.execute(insert, (cluster_number, "charged", "completed", 7))
        for number in range(100):
            session.execute(insert, (cluster_number, f"refused{number}", "failed", None))
        assert list(computesets.uncharged_sets(session)) == ["charged"]
        for number in range(100):
            session.execute(insert, (cluster_number, f"lost{number}", "completed", 1000 + number))
        wait_until(lambda: "charged" in computesets.uncharged_sets(session))
        session.execute("UPDATE computeset SET charged_seconds = 5")
        assert len(computesets.uncharged_sets(session)) == 100, "a job that ended lately may end again"
        session.execute("UPDATE computeset SET ended_at = ended_at - INTERVAL 61 MINUTE")
        assert computesets.uncharged_sets(session) == {}


def test_what_is_asked_twice_is_done_once(pool: Pool, cluster_number: int) -> None:
    with pool.transaction() as session:
        node, another, *_ = compute_numbers(session, cluster_number)
        first = operations.insert_operation(session, NewOperation("poweron", "ann", cluster_number, node))
        assert (
            operations.insert_operation(session, NewOperation("poweron", "bob", cluster_number, node))
            == first
        )
        other = operations.insert_operation(session, NewOperation("poweroff", "ann", cluster_number, node))
        again = operations.insert_operation(session, NewOperation("poweron", "ann", cluster_number, node))
        assert len({first.id, other.id, again.id}) == 3
        keyed = NewOperation("node.start", "nucleus", cluster_number, another, unique_key="1/2/3")
        assert operations.insert_operation(session, keyed) == operations.insert_operation(session, keyed)


def test_who_gets_a_cluster_does_not_get_the_operations_of_its_former_project(
    pool: Pool, cluster_number: int
) -> None:
    with pool.transaction() as session:
        node, *_ = compute_numbers(session, cluster_number)
        former = NewOperation("poweron", "ann", cluster_number, node, project_id=1)
        first = operations.insert_operation(session, former)
        assert operations.insert_operation(session, former) == first
        other = operations.insert_operation(session, former._replace(actor="bob", project_id=2))
        assert (other.id, other.project_id) != (first.id, first.project_id) and other.project_id == 2


def test_an_allocation_is_counted_by_one_at_a_time(pool: Pool, nucleus_settings: DatabaseSettings) -> None:
    """Clusters of two projects may charge one allocation: the lock of a project does not exclude the other."""
    with pool.transaction() as session:
        identity.add_allocation(session, "shared")
    second = Pool(nucleus_settings)
    try:
        with pool.transaction() as session:
            assert computesets.committed_minutes(session, "shared") == 0
            with pytest.raises(BusyError), second.transaction() as other:
                other.execute("SET SESSION innodb_lock_wait_timeout = 1")
                computesets.committed_minutes(other, "shared")
        with second.transaction() as other:
            assert computesets.committed_minutes(other, "shared") == 0
    finally:
        second.close()


def test_only_one_holds_a_lease_and_its_end_frees_it(pool: Pool) -> None:
    first, second = Guard(pool.settings, "poller"), Guard(pool.settings, "poller")
    assert first.take() and first.take() and not second.take()
    with first.transaction() as session:
        connection = (session.row("SELECT CONNECTION_ID()") or (0,))[0]
    with pool.transaction() as session:
        session.execute(f"KILL {connection}")
    with pytest.raises(HostError), first.transaction() as session:
        session.execute("DELETE FROM lease WHERE name = 'poller'")
    wait_until(second.take)  # the server ends the connection in its own time
    assert not first.take()
    first.release()
    second.release()


def test_events_become_visible_in_the_order_of_their_numbers(pool: Pool, cluster_number: int) -> None:
    def add(number: int) -> None:
        with pool.transaction() as session:
            events.append_events(
                session, [NewEvent("node.power", f"n{number}", cluster_id=cluster_number)] * 3
            )

    seen: list[int] = []
    with ThreadPoolExecutor(4) as threads:
        adding = [threads.submit(add, number) for number in range(12)]
        are_added = False
        while not are_added:
            are_added = all(one.done() for one in adding)
            with pool.transaction() as session:
                found = events.events_after(session, SYSTEM, max(seen, default=0), cluster_number)
                seen += [event.id for event in found]
    assert [one.result() for one in adding] == [None] * 12
    assert seen == sorted(set(seen)) and len(seen) == 36


def test_a_connection_that_is_lost_at_the_commit_leaves_open_whether_it_was_done(pool: Pool) -> None:
    with pytest.raises(HostError, match="is not known"), pool.transaction() as first:
        connection = (first.row("SELECT CONNECTION_ID()") or (0,))[0]
        with pool.transaction() as second:
            second.execute(f"KILL {connection}")


def test_a_database_that_is_away_and_returns(pool: Pool) -> None:
    with pool.transaction() as session:
        connection = (session.row("SELECT CONNECTION_ID()") or (0,))[0]
    with pytest.raises(HostError, match="nothing was changed"), pool.transaction() as first:
        with pool.transaction() as second:
            second.execute(f"KILL {connection}")
        first.rows("SELECT 1")
    with pool.transaction() as session:
        assert session.rows("SELECT 1") == [(1,)]


def test_what_is_read_as_one_column_is_what_was_stored(pool: Pool, cluster_number: int) -> None:
    odd = 'it\'s \\ "quoted",\n[\u00e9\U0001f600]\t%s'
    expires = datetime(2099, 1, 2, 3, 4, 5, 60_000, UTC)
    with pool.transaction() as session:
        project = identity.project_by_name(session, "alpha")
        other = identity.add_project(session, odd)
        user = identity.add_user(session, "zo\u00eb", "z@example.org", odd, "", False)
        for number in (project.id, other):
            identity.set_member(session, user, number, True)
        identity.acknowledge(session, user)
        token = identity.Token("AbCdEfGh", user, ("read",), (project.id,), odd, expires, expires, None, None)
        identity.add_token(session, token, bytes(range(224, 256)))
        session.execute(
            "UPDATE cluster SET description = %s, observed_power = '2026-01-02 03:04:05', gone_at = NULL,"
            " observed_image = '2026-01-02 03:04:05.678', vlan = 7 WHERE id = %s",
            (odd, cluster_number),
        )
    with pool.reading() as session:
        found = identity.token_use(session, "AbCdEfGh")
        assert found is not None and found.is_unnoted
        assert [found.token] == identity.tokens_of(session, user)
        assert found.secret_sha256 == bytes(range(224, 256))
        assert found.user == identity.user_by_id(session, user) and len(found.user.projects) == 2
        assert found.token.expires == expires and found.token.note == odd
        listed = {one.name: one for one in clusters.list_clusters(session, SYSTEM)}
        assert clusters.find_cluster(session, SYSTEM, "vc2") == listed["vc2"]
        assert listed["vc2"].description == odd
        identity.note_use(session, "AbCdEfGh")
        assert (identity.token_use(session, "AbCdEfGh") or found).is_unnoted is False
        identity.revoke_token(session, "AbCdEfGh", None)
        assert identity.token_use(session, "AbCdEfGh") is None


def test_a_question_sees_what_is_committed_and_a_transaction_on_the_same_connection_is_undone(
    pool: Pool, cluster_number: int
) -> None:
    sql = "SELECT description FROM cluster WHERE id = %s"
    with pool.reading() as reader:
        assert reader.row(sql, (cluster_number,)) == ("",)
        with pool.transaction() as session:
            session.execute("UPDATE cluster SET description = 'new' WHERE id = %s", (cluster_number,))
            assert reader.row(sql, (cluster_number,)) == ("",)
        assert reader.row(sql, (cluster_number,)) == ("new",)
    for _ in range(3):  # also on the connection that questions had
        with pytest.raises(ZeroDivisionError), pool.transaction() as session:
            session.execute("UPDATE cluster SET description = 'never' WHERE id = %s", (cluster_number,))
            raise ZeroDivisionError
    with pool.reading() as session:
        assert session.row(sql, (cluster_number,)) == ("new",)
