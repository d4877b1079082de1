"""Fixtures of Nucleus on a real MariaDB.

`nucleus_settings`   DatabaseSettings of a schema of the test's own, set up
`pool`               connections to it
`lease`              the poller's lease, held
`service_locks`      the leases of all parts, held
`slurm`              a real Slurm of four hosts, once per worker
`rounds`             the controller of computesets on it, round by round
`site`               fills the mirror: one cluster of four computes, for tests that need no poller
"""

from __future__ import annotations

import itertools
import json
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pymysql  # noqa: TID251
import pytest

from nucleus.configuration import BatchSettings, DatabaseSettings
from nucleus.mirror import status
from nucleus.mirror.migrate import set_up
from nucleus.mirror.pool import Guard, Pool, Session
from owners.computesets import records as computesets
from owners.computesets.slurm import Slurm
from rocks.database.settings import Settings
from tests.slurm_site import PARTITION, USER, SlurmSite, slurm_site

if TYPE_CHECKING:
    from tests.system.nucleus.slurm_rounds import Rounds

_NUMBERS = itertools.count(1)


def sql(pool: Pool, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """The rows of a statement, in a transaction of its own."""
    with pool.transaction() as session:
        return session.rows(statement, values)


@contextmanager
def held(pool: Pool, name: str) -> Iterator[Guard]:
    """The lease of this name, held by the test."""
    guard = Guard(pool.settings, name)
    assert guard.take()
    yield guard
    guard.release()


@contextmanager
def frozen(pool: Pool) -> Iterator[None]:
    """The server is stopped: it accepts connections, and says nothing."""
    ((file,),) = sql(pool, "SELECT @@pid_file")
    number = int(Path(file).read_text())
    os.kill(number, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(number, signal.SIGCONT)


@pytest.fixture
def absent_schema(mariadb: Settings) -> Iterator[DatabaseSettings]:
    """Settings of a schema that does not exist; it is dropped afterwards."""
    assert mariadb.socket is not None
    settings = DatabaseSettings(mariadb.socket, f"nucleus_{os.getpid()}_{next(_NUMBERS)}", "root")
    yield settings
    with pymysql.connect(unix_socket=settings.socket, user="root", autocommit=True) as connection:
        connection.cursor().execute(f"DROP DATABASE IF EXISTS {settings.name}")


@pytest.fixture(scope="session")
def worker_schema(mariadb: Settings) -> DatabaseSettings:
    """Settings of a schema that is set up, which the tests of this worker use one after the other.

    The numbers that a table gives its rows begin at a thousand of its own, and go on from test to test: a test that
    takes one for 1, or for that of another table's row, fails at once.
    """
    assert mariadb.socket is not None
    settings = DatabaseSettings(mariadb.socket, f"nucleus_{os.getpid()}", "root")
    set_up(settings)
    with pymysql.connect(unix_socket=settings.socket, user="root", database=settings.name) as connection:
        cursor = connection.cursor()
        cursor.execute(
            "SELECT TABLE_NAME FROM information_schema.COLUMNS"
            " WHERE TABLE_SCHEMA = DATABASE() AND EXTRA = 'auto_increment' ORDER BY TABLE_NAME"
        )
        for number, (table,) in enumerate(cursor.fetchall(), 1):
            cursor.execute(f"ALTER TABLE {table} AUTO_INCREMENT = {1000 * number}")
    return settings


@pytest.fixture
def nucleus_settings(worker_schema: DatabaseSettings) -> DatabaseSettings:
    """Settings of a schema that is set up and empty."""
    with pymysql.connect(
        unix_socket=worker_schema.socket, user="root", database=worker_schema.name
    ) as connection:
        cursor = connection.cursor()
        cursor.execute("SET SESSION foreign_key_checks = 0")
        cursor.execute("SHOW TABLES")
        for (table,) in cursor.fetchall():
            if table not in ("schema_version", "lease", "source"):
                cursor.execute(f"DELETE FROM {table}")
        cursor.execute("DELETE FROM source WHERE name IN ('image', 'scheduler')")
        cursor.execute("UPDATE source SET observed = NULL, row_count = 0, failures = 0, last_error = NULL")
        connection.commit()
    return worker_schema


@pytest.fixture
def environment(nucleus_settings: DatabaseSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """`nucleus` in this process uses that schema."""
    for key in ("socket", "name", "user"):
        monkeypatch.setenv(f"NUCLEUS_DATABASE_{key.upper()}", getattr(nucleus_settings, key))


@pytest.fixture
def pool(nucleus_settings: DatabaseSettings) -> Iterator[Pool]:
    """Connections to the test's schema."""
    connections = Pool(nucleus_settings)
    yield connections
    connections.close()


@pytest.fixture
def service_locks(pool: Pool) -> Iterator[list[Guard]]:
    """Those of the parts of a service, as far as no other fixture holds them."""
    guards = [Guard(pool.settings, name) for name in status.loops()]
    for one in guards:
        one.take()
    yield guards
    for one in guards:
        one.release()


def add_cluster(session: Session, name: str, computes: int, project: str | None = None) -> int:
    """A cluster with so many computes, all off; returns its number."""
    project_id = None
    if project is not None:
        session.execute("INSERT IGNORE INTO project (name) VALUES (%s)", (project,))
        project_id = (session.row("SELECT id FROM project WHERE name = %s", (project,)) or (0,))[0]
    number = session.insert("cluster", {"name": name, "rocks_name": name, "project_id": project_id})
    nodes = [(number, "frontend", name, name, "host-0", "nostate", None)]
    nodes += [
        (number, "compute", f"vm-{name}-{n}", f"vm-{name}-{n}", f"host-{n}", "nostate", "unmapped")
        for n in range(computes)
    ]
    session.insert_many(
        "INSERT INTO node (cluster_id, kind, name, rocks_name, physical_host, state, image_state) VALUES",
        nodes,
    )
    return number


@pytest.fixture
def lease(pool: Pool) -> Iterator[Guard]:
    """The poller's, held by the test."""
    with held(pool, "poller") as guard:
        yield guard


@pytest.fixture
def cluster_number(pool: Pool) -> int:
    """The number of the cluster vc2 of project alpha, with computes vm-vc2-0 to vm-vc2-3."""
    with pool.transaction() as session:
        return add_cluster(session, "vc2", 4, "alpha")


def compute_numbers(session: Session, cluster: int) -> tuple[int, ...]:
    """The numbers of the computes of a cluster, in the order of their names."""
    rows = session.rows(
        "SELECT id FROM node WHERE cluster_id = %s AND kind = 'compute' ORDER BY name", (cluster,)
    )
    return tuple(number for (number,) in rows)


def add_set(pool: Pool, cluster: int, count: int) -> int:
    """A set of an hour, of the first so many computes of the cluster; its number."""
    with pool.transaction() as session:
        nodes = compute_numbers(session, cluster)[:count]
        new = computesets.NewComputeset(cluster, nodes, "ann", "alp1", None, 60, "ann")
        return computesets.insert_computeset(session, new)


def run_on(pool: Pool, number: int, host: str, hosts: Sequence[str]) -> None:
    """Have a set of one node run, which was placed on `host`; its job has `hosts` now."""
    sql(
        pool,
        "UPDATE computeset s JOIN computeset_node m ON m.computeset_id = s.id SET s.state = 'running', s.context ="
        " JSON_OBJECT('hosts', JSON_EXTRACT(%s, '$'), 'members', JSON_ARRAY(JSON_OBJECT('id', node_id, 'host', %s)))"
        " WHERE s.id = %s",
        (json.dumps(hosts), host, number),
    )


@pytest.fixture(scope="session")
def slurm(mariadb: Settings) -> Iterator[SlurmSite]:
    """A Slurm whose accounting is on this worker's server."""
    assert mariadb.socket is not None
    with slurm_site(mariadb.socket) as started:
        yield started


@pytest.fixture
def guard(pool: Pool) -> Iterator[Guard]:
    """The lease of the controller of computesets."""
    with held(pool, "computesets") as taken:
        yield taken


@pytest.fixture
def rounds(
    pool: Pool, guard: Guard, cluster_number: int, slurm: SlurmSite, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Rounds]:
    """The controller, with the programs of the test's Slurm; no job is left."""
    from tests.system.nucleus.slurm_rounds import Rounds  # which imports this module

    monkeypatch.setenv("PATH", f"{slurm.bin}:{os.environ['PATH']}")
    batch = Slurm(BatchSettings("slurm", PARTITION, USER), command_seconds=5.0)
    yield Rounds(pool, guard, batch, cluster_number)
    slurm.clear()
