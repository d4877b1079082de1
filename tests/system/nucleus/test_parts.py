"""A site without parts: the poller, the rows of what it has polled, and operations; and parts that come later."""

import http.client
import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

import nucleus
from nucleus.api.access.authentication import store_token
from nucleus.configuration import DatabaseSettings
from nucleus.mirror import identity
from nucleus.mirror.clusters import assign_cluster
from nucleus.mirror.migrate import check_version, set_up
from nucleus.mirror.pool import Pool
from rocks.core.errors import StateError
from rocks.core.process import Finished, end_group, run, start_with_pipes
from tests.waiting import wait_until

SOURCES = Path(str(nucleus.__file__)).parents[1]
PACKAGES = [path for path in sys.path if path.endswith("site-packages")]


class Core:
    """The programs of `nucleus` where no package has a part."""

    def __init__(self, settings: DatabaseSettings, folder: Path) -> None:
        self.folder = folder
        sources = folder / "sources"
        sources.mkdir()
        for name in ("nucleus", "comet", "rocks"):
            (sources / name).symlink_to(SOURCES / name)
        self.environment = {
            **os.environ,
            "NUCLEUS_DATABASE_SOCKET": settings.socket,
            "NUCLEUS_DATABASE_NAME": settings.name,
            "NUCLEUS_DATABASE_USER": settings.user,
            "NUCLEUS_EXECUTOR_KIND": "socket",
            "NUCLEUS_EXECUTOR_SOCKET": str(folder / "executor.sock"),
            "NUCLEUS_POLL_POWER_SECONDS": "0.3",
            "NUCLEUS_POLL_TOPOLOGY_SECONDS": "0.6",
            "NUCLEUS_LISTEN_SOCKET": str(folder / "nucleus.sock"),
            "PYTHONPATH": os.pathsep.join([str(sources), *PACKAGES]),
        }

    def run(self, *arguments: str) -> Finished:
        program = [sys.executable, "-m", "nucleus.cli", *arguments]
        return run(program, deadline_seconds=60, environment=self.environment)

    @contextmanager
    def serve(self) -> Iterator[None]:
        checkout = os.pathsep.join([str(SOURCES.parent), str(SOURCES), *PACKAGES])
        simulator = [sys.executable, "-m", "lab.simulator", self.environment["NUCLEUS_EXECUTOR_SOCKET"]]
        programs = [start_with_pipes(simulator, {**self.environment, "PYTHONPATH": checkout})]
        try:
            programs.append(
                start_with_pipes([sys.executable, "-m", "nucleus.cli", "serve"], self.environment)
            )
            yield
        finally:
            for one in programs:
                end_group(one)

    def get(self, path: str, token: str = "") -> tuple[int, Any]:
        with closing(http.client.HTTPConnection("localhost")) as connection:
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.connect(self.environment["NUCLEUS_LISTEN_SOCKET"])
            headers = {"Authorization": f"Bearer {token}", "Accept": "application/problem+json"}
            connection.request("GET", path, headers=headers if token else {})
            answer = connection.getresponse()
            text = answer.read()
            is_json = "json" in (answer.headers["Content-Type"] or "")
            return answer.status, json.loads(text) if is_json else text.decode()


@pytest.mark.slow
def test_a_site_with_the_poller_alone_serves_its_clusters(
    absent_schema: DatabaseSettings, tmp_path: Path
) -> None:
    core = Core(absent_schema, tmp_path)
    made = core.run("setup")
    assert (made.exit_status, made.error_text) == (0, "")
    listed = core.run("--help").text
    assert "poll the site once" in listed and "make and end tokens" not in listed
    with closing(Pool(absent_schema)) as pool, core.serve():
        wait_until((tmp_path / "nucleus.sock").exists, "the REST service")
        wait_until(lambda: core.get("/readyz")[0] == 200, "the first poll")
        with pool.transaction() as session:
            user = identity.add_user(session, "ann", "", "Ann", "Test", False)
            project = identity.add_project(session, "alpha")
            identity.set_member(session, user, project, True)
            assign_cluster(session, session.value("SELECT id FROM cluster WHERE name = 'vc2'"), project)
            token = store_token(session, user, ["power"], None, None, "test")[1].text
        status, (cluster,) = core.get("/v1/cluster", token)
        assert (status, cluster["name"], len(cluster["computes"])) == (200, "vc2", 4)
        assert core.get("/v1/cluster/vc2", token) == (200, cluster)
        assert core.get("/v1/cluster/vc2/frontend", token) == (200, cluster["frontend"])
        name = cluster["computes"][0]["name"]
        assert core.get(f"/v1/cluster/vc2/compute/{name}", token) == (200, cluster["computes"][0])
        assert core.get("/v1/operation", token) == (200, [])
        assert core.get("/v1/computeset", token)[0] == 404
        assert 'nucleus_alarms{kind="part-not-running"} 0.0' in core.get("/metrics")[1]


def test_a_part_that_comes_later_brings_its_tables(absent_schema: DatabaseSettings, tmp_path: Path) -> None:
    """The version is the same; nothing that was done is done again."""
    core = Core(absent_schema, tmp_path)
    assert core.run("setup").exit_status == 0
    with closing(Pool(absent_schema)) as pool:
        with pool.transaction() as session:
            assert "reservation" not in session.column("SHOW TABLES")
            before = dict(session.rows("SELECT version, finished FROM schema_version"))
            with pytest.raises(StateError, match="run `nucleus setup` as root"):
                check_version(session)
        set_up(absent_schema)
        with pool.transaction() as session:
            check_version(session)
            after = dict(session.rows("SELECT version, finished FROM schema_version"))
            assert after.keys() - before.keys() == {8} and before.items() <= after.items()
            assert "notes" in session.column("SHOW COLUMNS FROM reservation_interval")
            assert {"title", "description"} <= set(session.column("SHOW COLUMNS FROM reservation"))


def test_a_reservation_of_earlier_tables_gets_a_title(absent_schema: DatabaseSettings) -> None:
    set_up(absent_schema)
    with closing(Pool(absent_schema)) as pool:
        with pool.transaction() as session:
            session.execute("ALTER TABLE reservation DROP COLUMN title, DROP COLUMN description")
            session.execute("DELETE FROM schema_version WHERE version = 26")
        set_up(absent_schema)
        with pool.transaction() as session:
            assert {"title", "description"} <= set(session.column("SHOW COLUMNS FROM reservation"))
