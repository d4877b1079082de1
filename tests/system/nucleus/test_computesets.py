"""Computesets from the request to the release of their nodes, by real processes; the site is simulated."""

import http.client
import os
import signal
import socket
import subprocess  # noqa: TID251 - its class, of a program that rocks.core.process has started
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from nucleus.configuration import DatabaseSettings
from nucleus.hostlists import expand
from nucleus.mirror import clusters, operations
from nucleus.mirror.pool import Pool
from nucleus.records import SYSTEM, NewOperation, Node
from nucleus.states import PENDING, RUNNING
from owners.computesets import records as computesets
from owners.computesets.batch import HostJob, allocations
from owners.computesets.records import Computeset
from rocks.core.errors import HostError
from rocks.core.process import end_group, start_with_pipes
from tests.patience import patience
from tests.slurm_site import HOSTS, PARTITION, SlurmSite
from tests.system.nucleus.slurm_rounds import accounted
from tests.waiting import wait_until


def test_hosts_are_given_first_come_first_served() -> None:
    def job(
        number: int, count: int, state: str = PENDING, hosts: tuple[str, ...] = (), must: tuple[str, ...] = ()
    ) -> HostJob:
        return HostJob(number, f"j{number}", state, count, must, hosts, "")

    hosts = ["h0", "h1", "h2", "h3"]
    assert allocations(hosts, [job(1, 1, RUNNING, ("h1",)), job(2, 2)]) == {2: ["h0", "h2"]}
    assert allocations(hosts, [job(1, 1, RUNNING, ("h1",)), job(2, 4), job(3, 1)]) == {}, "nobody passes"
    assert allocations(hosts, [job(1, 1, must=("h3",)), job(2, 1, must=("h3",)), job(3, 1)]) == {1: ["h3"]}
    impossible = [job(1, 5), job(2, 1, must=("gone",)), job(3, 1)]
    assert allocations(hosts, impossible) == {3: ["h0"]}, "their hosts were removed"


_LIST = {"NUCLEUS_BATCH_HOSTS": "vm-container-1-[0-2]"}
_SLURM = {
    f"NUCLEUS_BATCH_{key}": value
    for key, value in {"KIND": "slurm", "PARTITION": PARTITION, "USER": "root"}.items()
}


@contextmanager
def program(
    settings: DatabaseSettings,
    folder: Path,
    *arguments: str,
    listen: str = "nucleus.sock",
    batch: Mapping[str, str] = _LIST,
) -> Iterator[subprocess.Popen[bytes]]:
    """A process of `nucleus`, which is killed at the end of the block if it still runs. `listen` "": at a port."""
    environment = {
        **os.environ,
        "NUCLEUS_DATABASE_SOCKET": settings.socket,
        "NUCLEUS_DATABASE_NAME": settings.name,
        "NUCLEUS_DATABASE_USER": settings.user,
        "NUCLEUS_EXECUTOR_SOCKET": str(folder / "executor.sock"),
        "NUCLEUS_EXECUTOR_KIND": "socket",
        "NUCLEUS_POLL_POWER_SECONDS": "0.3",
        "NUCLEUS_POLL_TOPOLOGY_SECONDS": "0.6",
        "NUCLEUS_LISTEN_SOCKET": str(folder / listen) if listen else "",
        **batch,
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    # the simulator instead of the service that runs `rocks` as root
    simulated = ["lab.simulator", environment["NUCLEUS_EXECUTOR_SOCKET"]]
    started_by = simulated if arguments[0] == "executor" else ["nucleus.cli", *arguments]
    started = start_with_pipes([sys.executable, "-m", *started_by], environment)
    try:
        yield started
    finally:
        end_group(started)


SERVE = ("serve", "--only", "poller", "workers", "computesets")


def _nodes(pool: Pool) -> list[Node]:
    with pool.transaction() as session:
        found = clusters.find_cluster(session, SYSTEM, "vc2")
        nodes = clusters.nodes_of(session, SYSTEM, [found.id])[found.id] if found else []
    return [node for node in nodes if node.kind == "compute"]


def _start(pool: Pool, nodes: list[Node]) -> int:
    with pool.transaction() as session:
        new = computesets.NewComputeset(
            nodes[0].cluster_id, tuple(node.id for node in nodes), "ann", "alp1", None, 60, "ann"
        )
        number = computesets.insert_computeset(session, new)
        operations.insert_operation(
            session, NewOperation("start_set", "ann", nodes[0].cluster_id, None, number)
        )
        return number


def _look(pool: Pool, number: int) -> Computeset:
    def found() -> Computeset | None:
        with suppress(HostError), pool.transaction() as session:
            return computesets.find_computeset(session, SYSTEM, number)
        return None

    return wait_until(found, f"there is no computeset {number}")


def _has(pool: Pool, number: int, state: str) -> bool:
    return _look(pool, number).state == state


def _are_all(pool: Pool, numbers: tuple[int, ...], state: str) -> bool:
    return all(node.state == state for node in _nodes(pool) if node.id in numbers)


@pytest.mark.slow
def test_the_life_of_two_sets(pool: Pool, nucleus_settings: DatabaseSettings, tmp_path: Path) -> None:
    _live_two_sets(pool, nucleus_settings, tmp_path, _LIST)
    with pool.transaction() as session:
        jobs = session.rows("SELECT state FROM host_job")
    assert jobs == [("ended",)] * 2, "one job of each set"


@pytest.mark.slow
def test_the_life_of_two_sets_in_slurm(
    pool: Pool, nucleus_settings: DatabaseSettings, tmp_path: Path, slurm: SlurmSite
) -> None:
    slurm.occupy(len(HOSTS) - 3)
    path = f"{slurm.root_bin}:{os.environ['PATH']}"
    numbers = _live_two_sets(pool, nucleus_settings, tmp_path, {**_SLURM, "PATH": path})
    names = ",".join(str(_look(pool, number).name) for number in numbers)
    # slurmctld sends each event to the accounting later, in their order
    wait_until(
        lambda: accounted(slurm, names, "State").count(["COMPLETED"]) > 1, "both ends in the accounting"
    )
    assert len(accounted(slurm, names, "State")) == 2, "one job of each set"
    slurm.clear()


def _live_two_sets(
    pool: Pool, nucleus_settings: DatabaseSettings, tmp_path: Path, batch: Mapping[str, str]
) -> tuple[int, int]:
    """The second waits for the hosts of the first; the service is ended and killed in the middle, and started again."""

    @contextmanager
    def served(end: signal.Signals) -> Iterator[None]:
        with program(nucleus_settings, tmp_path, *SERVE, batch=batch) as serving:
            yield
            serving.send_signal(end)
            wait_until(lambda: serving.poll() is not None, "the end of the service")
            assert serving.returncode == (-signal.SIGKILL if end == signal.SIGKILL else 0)

    with program(nucleus_settings, tmp_path, "executor", "--user", "root"):
        wait_until((tmp_path / "executor.sock").exists)
        with served(signal.SIGKILL):
            wait_until(lambda: len(_nodes(pool)) == 4, "the first poll")
            nodes = _nodes(pool)
            first = _start(pool, nodes[:2])
            wait_until(lambda: not _has(pool, first, "created"), "the submission")
        second = _start(pool, nodes[2:])
        with served(signal.SIGKILL):
            wait_until(
                lambda: _has(pool, first, "running") and _are_all(pool, _look(pool, first).node_ids, "active")
            )
            wait_until(lambda: _has(pool, second, "submitted"), "the second one in the queue")
            hosts = expand(str(_look(pool, first).nodelist))
            assert hosts == [str(node.physical_host) for node in _nodes(pool)[:2]]
            with pool.transaction() as session:
                assert computesets.request_end(session, first, "shutdown")
        former = batch.get("NUCLEUS_BATCH_KIND", "hosts")
        other = _LIST if former == "slurm" else _SLURM
        with program(nucleus_settings, tmp_path, *SERVE, batch=other) as refused:
            _, error = refused.communicate(timeout=patience(60))
            assert refused.returncode == 1
            assert f'{second}) got their jobs with kind = "{former}"; set that again' in error.decode()
        with served(signal.SIGTERM):
            wait_until(lambda: _has(pool, first, "cancelled"), "the end of the first set")
            wait_until(
                lambda: _are_all(pool, _look(pool, second).node_ids, "active"), "the start of the second set"
            )
            wait_until(lambda: _has(pool, second, "running"))
            with pool.transaction() as session:
                assert computesets.request_end(session, second, "poweroff")
            wait_until(lambda: _has(pool, second, "cancelled"), "the end of the second set")
    assert _are_all(pool, tuple(node.id for node in nodes), "nostate")
    assert all(node.set_id is None for node in _nodes(pool)), "its nodes are free"
    with pool.transaction() as session:
        states = {one.state for one in operations.list_operations(session, SYSTEM) if one.kind == "start_set"}
    assert "queued" not in states and "running" not in states
    return first, second


def _get(path: Path, what: str, more: str = "") -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(60)
        connection.connect(str(path))
        connection.sendall(
            f"GET {what} HTTP/1.1\r\nHost: localhost\r\n{more or 'Connection: close'}\r\n\r\n".encode()
        )
        response = http.client.HTTPResponse(connection)  # nginx keeps the connection for a minute
        response.begin()
        return f"HTTP/1.1 {response.status} ".encode() + response.read()


UPGRADE = "\r\n".join(
    (
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    )
)


@pytest.mark.slow
def test_all_parts_of_one_service_that_ends_when_it_is_asked_to(
    pool: Pool, nucleus_settings: DatabaseSettings, tmp_path: Path
) -> None:
    with (
        program(nucleus_settings, tmp_path, "executor", "--user", "root"),
        program(nucleus_settings, tmp_path, "serve") as serving,
    ):
        wait_until((tmp_path / "nucleus.sock").exists, "the socket")
        wait_until(lambda: len(_nodes(pool)) == 4, "the first poll")
        assert _get(tmp_path / "nucleus.sock", "/healthz").startswith(b"HTTP/1.1 200")
        refused = _get(tmp_path / "nucleus.sock", "/ws/console/some-ticket", UPGRADE)
        assert refused.startswith(b"HTTP/1.1 403")
        serving.send_signal(signal.SIGTERM)
        wait_until(lambda: serving.poll() is not None, "the end of the service")
        assert serving.returncode == 0
        assert b"some-ticket" not in serving.stderr.read()
