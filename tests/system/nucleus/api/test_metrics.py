"""Metrics of nodes: Debian's Prometheus and its exporter of libvirt, which reads machines of libvirt's test driver."""

import contextlib
import http.server
import json
import subprocess  # noqa: TID251 - programs that run until the test ends
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nucleus.configuration import Configuration
from nucleus.mirror.pool import Pool
from tests.servers import free_port
from tests.system.nucleus.api.conftest import PROBLEMS, changed, started
from tests.system.nucleus.conftest import sql
from tests.waiting import wait_until

OWN, FOREIGN, UNKNOWN = (f"00000000-0000-4000-8000-00000000000{number}" for number in (1, 2, 3))
_DOMAIN = """<domain type="test"><name>{name}</name><uuid>{uuid}</uuid><memory>2097152</memory><vcpu>2</vcpu>
<os><type>hvm</type></os><devices><disk type="file"><source file="/{name}"/><target dev="vda"/></disk>
<interface type="network"><source network="default"/><target dev="{name}"/></interface></devices></domain>"""


@contextlib.contextmanager
def program(command: list[str], log: Path) -> Iterator[None]:
    """It runs until the end of the block."""
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            yield
        finally:
            process.kill()


@contextlib.contextmanager
def prometheus(folder: Path) -> Iterator[str]:
    """A Prometheus that asks an exporter each second, whose libvirt has a machine for each of the UUIDs; its URL."""
    domains = [_DOMAIN.format(name=f"m{uuid[-1]}", uuid=uuid) for uuid in (OWN, FOREIGN, UNKNOWN)]
    network = '<network><name>default</name><ip address="192.0.2.1" netmask="255.255.255.0"/></network>'
    (folder / "node.xml").write_text(f"<node>{network}{''.join(domains)}</node>")
    port, exporter_port = free_port(), free_port()
    settings = {
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [
            {"job_name": "hosts", "static_configs": [{"targets": [f"127.0.0.1:{exporter_port}"]}]}
        ],
    }
    (folder / "prometheus.yml").write_text(json.dumps(settings))
    with contextlib.ExitStack() as running:
        for name, command in {
            "exporter": [
                "/usr/bin/prometheus-libvirt-exporter",
                f"--libvirt.uri=test://{folder}/node.xml",
                f"--web.listen-address=127.0.0.1:{exporter_port}",
            ],
            "prometheus": [
                "/usr/bin/prometheus",
                f"--config.file={folder}/prometheus.yml",
                f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
        }.items():
            running.enter_context(program(command, folder / f"{name}.log"))
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def answering(body: bytes) -> Iterator[str]:
    """A server that answers each question so; its URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


@pytest.fixture
def own_node(pool: Pool, people: dict[str, str]) -> str:
    """The name of a node of ann's that has the UUID OWN; one of bob's has FOREIGN."""
    for cluster, uuid in (("vc2", OWN), ("vc3", FOREIGN)):
        sql(
            pool,
            "UPDATE node SET uuid = %s WHERE id = (SELECT MAX(n.id) FROM node n JOIN cluster c ON c.id = n.cluster_id"
            " WHERE c.name = %s)",
            (uuid, cluster),
        )
    sql(pool, "UPDATE cluster SET assigned_at = NULL")
    ((name,),) = sql(pool, "SELECT name FROM node WHERE uuid = %s", (OWN,))
    return str(name)


@pytest.mark.slow
def test_owners_see_what_their_nodes_use_and_no_others(
    configuration: Configuration, pool: Pool, people: dict[str, str], own_node: str, tmp_path: Path
) -> None:
    with (
        prometheus(tmp_path) as url,
        started(changed(configuration, "metrics", prometheus=url), pool, people) as service,
    ):

        def metrics(**params: object) -> Any:
            """The answer; Prometheus may be slow on a busy machine."""
            answers = []

            def is_answered() -> bool:
                service.forget_rates()
                answers.append(service.get("ann", "/v1/cluster/vc2/metrics", params=params))
                return answers[-1].status_code == 200

            wait_until(is_answered, "an answer of Prometheus")
            return answers[-1].json()

        def used() -> dict[str, list[float | None]]:
            found = metrics()
            rows = {row.pop("name"): row for row in found["nodes"]}
            assert len(rows) == 5 and len(found["moments"]) == 1
            own = rows.pop(own_node)
            assert all(value == [None] for row in rows.values() for value in row.values())
            return own

        wait_until(lambda: used()["cpu"] != [None], "two values of the counters")
        now = used()
        # libvirt's test driver counts its seconds as time of a CPU; a rate is of 150 s, of which few passed
        assert now["cpu"][0] is not None and 0 < now["cpu"][0] < 1.2 and now["memory"] == [2 << 30]
        assert all(now[value][0] for value in ("received", "sent", "read", "written"))
        hour = metrics(hours=1, node=own_node)
        assert len(hour["moments"]) == 60 and hour["moments"][1] - hour["moments"][0] == 60
        (only,) = hour["nodes"]
        assert only["name"] == own_node and {len(only[value]) for value in now} == {60}
        week = metrics(hours=168)
        assert len(week["nodes"]) == 5 and len(week["nodes"][0]["cpu"]) == 30
        assert set(week["nodes"][0]) == {"name", "cpu"}, "of many nodes over a week, the CPUs alone"
        assert service.get("ann", "/v1/cluster/vc3/metrics").status_code == 404
        sql(pool, "UPDATE cluster SET assigned_at = UTC_TIMESTAMP(3) WHERE name = 'vc2'")
        own = metrics(node=own_node)["nodes"][0]
        assert own.pop("name") == own_node and set(map(str, own.values())) == {"[None]"}, (
            "of its former project"
        )
        assert service.get("ann", "/v1/cluster/vc2/metrics", params={"node": "none"}).status_code == 404
        assert service.get("", "/v1/cluster/vc2/metrics").status_code == 401


def test_a_site_without_prometheus_says_so(
    configuration: Configuration, pool: Pool, people: dict[str, str], own_node: str
) -> None:
    with started(configuration, pool, people) as service:
        answer = service.get("ann", "/v1/cluster/vc2/metrics").json()
        assert answer["nodes"] == [] and "keeps no metrics" in answer["reason"]
    away = f"http://127.0.0.1:{free_port()}"
    with started(changed(configuration, "metrics", prometheus=away), pool, people) as service:
        answer = service.get("ann", "/v1/cluster/vc2/metrics", headers=PROBLEMS)
        assert answer.status_code == 503 and "cannot be read now" in answer.json()["detail"]


def _result(uuid: object, value: object, **labels: object) -> dict[str, object]:
    return {"metric": {"uuid": uuid, "of": "cpu", **labels}, "value": value}


@pytest.mark.parametrize(
    ("result", "cpu"),
    [
        ([_result(OWN, ["?", "NaN"]), _result(FOREIGN, ["?", "7"])], None),
        ([_result(UNKNOWN, ["?", "9"]), _result(OWN, ["?", "0.12345"])], 0.123),
        ([_result(OWN, ["?", "-1"]), _result(OWN, ["?", "+Inf"])], None),
        ([_result(OWN, [1, "2"])], None),
        (None, 503),
        ([{"metric": None, "value": []}], None),
        ([_result(OWN, "text")], 503),
        ([{**_result(OWN, ["?", "1"]), "value": [1e999, "1"]}], 503),
        ([_result(OWN, ["?", "1"], of=f"x{number}") for number in range(9)], None),
        ([_result([OWN], ["?", "1"])], 503),
        ({"a": 1}, 503),
    ],
)
def test_what_prometheus_says_is_not_believed(
    configuration: Configuration,
    pool: Pool,
    people: dict[str, str],
    own_node: str,
    monkeypatch: pytest.MonkeyPatch,
    result: object,
    cpu: float | None,
) -> None:
    monkeypatch.setattr("owners.metrics.rest.time.time", lambda: 1_800_000_000.5)
    body = json.dumps({"data": {"result": result}}).replace('"?"', "1800000000.0").encode()
    with (
        answering(body) as url,
        started(changed(configuration, "metrics", prometheus=url), pool, people) as service,
    ):
        answer = service.get("ann", "/v1/cluster/vc2/metrics", headers=PROBLEMS)
        if cpu == 503:
            assert answer.status_code == 503 and "cannot be read now" in answer.json()["detail"]
        else:
            found = {row["name"]: row["cpu"] for row in answer.json()["nodes"]}
            assert found.pop(own_node) == [cpu] and set(map(str, found.values())) == {"[None]"}
