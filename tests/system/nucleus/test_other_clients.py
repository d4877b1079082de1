"""Clients of others at a real service over a simulated site: the Ansible example's playbooks, and a generated client.

`make test-clients` installs ansible-core and openapi-python-client into the folder that CLIENTS names.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.namespace import CHECKOUT
from nucleus.api.openapi import reference_text
from nucleus.configuration import DatabaseSettings
from nucleus.mirror import clusters, identity
from nucleus.mirror.pool import Pool
from nucleus.records import SYSTEM
from rocks.core.process import run, run_checked
from tests.servers import free_port
from tests.system.nucleus.api.conftest import add_person
from tests.system.nucleus.test_computesets import program
from tests.waiting import wait_until

FOLDER = Path(os.environ.get("CLIENTS", ""))
EXAMPLE = CHECKOUT / "examples/ansible"
pytestmark = pytest.mark.skipif(
    "CLIENTS" not in os.environ,
    reason="CLIENTS names no folder with clients; `make test-clients` makes one and runs this",
)


@pytest.fixture
def site(
    pool: Pool, nucleus_settings: DatabaseSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, str]]:
    """A service with the cluster vc1 of ann's project; what Ansible needs to know of it."""
    port = free_port()
    monkeypatch.setenv("NUCLEUS_LISTEN_PORT", str(port))
    with (
        program(nucleus_settings, tmp_path, "executor", "--user", "root"),
        program(nucleus_settings, tmp_path, "serve", listen=""),
    ):

        def polled() -> bool:
            with pool.transaction() as session:
                return bool(clusters.list_clusters(session, SYSTEM))

        wait_until(polled, "the first poll")
        with pool.transaction() as session:
            session.execute("INSERT INTO project (name) VALUES ('alpha')")
            project = identity.project_by_name(session, "alpha")
            session.execute("UPDATE cluster SET project_id = %s WHERE name = 'vc1'", (project.id,))
            (cluster,) = [one for one in clusters.list_clusters(session, SYSTEM) if one.name == "vc1"]
            identity.add_allocation(session, "alpha-account")
            identity.set_allocation(session, cluster.id, "alpha-account", True)
            token = add_person(session, "ann", "alpha")
        yield {"NUCLEUS_URL": f"http://127.0.0.1:{port}/nucleus", "NUCLEUS_TOKEN": token}


def play(site: dict[str, str], folder: Path, book: str, *arguments: str) -> tuple[int, int, str]:
    """A playbook's exit status, how many of its tasks changed something, and what it printed."""
    finished = run(
        [
            "env", f"--chdir={EXAMPLE}", str(FOLDER / "bin/ansible-playbook"), book, "-i", "localhost,",
            "-e", "cluster=vc1", "-e", "ansible_python_interpreter=/usr/bin/python3", *arguments,
        ],
        deadline_seconds=600,
        environment={**os.environ, **site, "HOME": str(folder), "ANSIBLE_NOCOLOR": "1"},
    )  # fmt: skip
    recap = re.search(r"changed=(\d+)", finished.text)
    assert recap, finished.text + finished.error_text
    return finished.exit_status, int(recap[1]), finished.text + finished.error_text


def states(pool: Pool) -> list[str | None]:
    """Of the computes of vc1."""
    with pool.transaction() as session:
        (cluster,) = [one for one in clusters.list_clusters(session, SYSTEM) if one.name == "vc1"]
        nodes = clusters.nodes_of(session, SYSTEM, [cluster.id])[cluster.id]
    return [node.state for node in nodes if node.kind == "compute"]


def test_playbooks_start_and_stop_nodes(site: dict[str, str], pool: Pool, tmp_path: Path) -> None:
    status, changed, text = play(site, tmp_path, "up.yml", "-e", "count=2", "--check")
    assert (status, changed) == (0, 1) and "active" not in states(pool), text
    status, changed, text = play(site, tmp_path, "up.yml", "-e", "count=2")
    assert (status, changed) == (0, 1) and states(pool).count("active") == 2, text
    status, changed, text = play(site, tmp_path, "up.yml", "-e", "count=2")
    assert (status, changed) == (0, 0), f"they run already: {text}"
    status, changed, text = play(site, tmp_path, "down.yml")
    assert (status, changed) == (0, 1) and "active" not in states(pool), text
    status, changed, text = play(site, tmp_path, "up.yml", "-e", "count=99")
    assert (status, changed) == (2, 0) and "not-enough-nodes" in text, text
    assert site["NUCLEUS_TOKEN"] not in text


CALLS = """
import sys
from nucleus_client import AuthenticatedClient
from nucleus_client.api.cluster import compute_poweroff, frontend_poweroff, frontend_poweron, get_cluster
from nucleus_client.api.cluster import get_compute, get_frontend, list_clusters, rename_compute
from nucleus_client.api.computeset import computeset_poweroff, get_computeset, list_computesets, start_computeset
from nucleus_client.api.image import list_images
from nucleus_client.api.operation import get_operation, list_operations
from nucleus_client.api.project import list_projects
from nucleus_client.api.token import list_tokens
from nucleus_client.api.user import get_user
from nucleus_client.models import NewComputeset, NewName

client = AuthenticatedClient(base_url=sys.argv[1], token=sys.argv[2])
answers = []

def ask(operation, *path, **values):
    answer = operation.sync_detailed(*path, client=client, **values)
    print(operation.__name__.rpartition(".")[2], int(answer.status_code), type(answer.parsed).__name__)
    return answer.parsed

ask(list_clusters), ask(get_cluster, "vc1"), ask(get_frontend, "vc1")
compute = ask(get_cluster, "vc1").computes[0].name
ask(get_compute, "vc1", compute), ask(frontend_poweron, "vc1"), ask(frontend_poweroff, "vc1")
made = ask(start_computeset, body=NewComputeset(cluster="vc1", count=1, walltime_mins=30))
ask(get_computeset, made.id), ask(list_computesets), ask(computeset_poweroff, made.id)
ask(get_operation, ask(list_operations)[0].id)
ask(list_images), ask(list_projects), ask(list_tokens), ask(get_user)
ask(get_cluster, "vc99"), ask(rename_compute, "vc1", compute, body=NewName(name="vm-vc1-1"))
ask(start_computeset, body=NewComputeset(cluster="vc1", count=99))
"""


def test_a_generated_client_gets_answers_and_refusals(site: dict[str, str], tmp_path: Path) -> None:
    """A refusal is a text, as the description says, and no exception."""
    (tmp_path / "openapi.json").write_text(reference_text())
    (tmp_path / "calls.py").write_text(CALLS)
    environment = {**os.environ, "PATH": f"{FOLDER}/bin:{os.environ['PATH']}", "PYTHONPATH": str(tmp_path)}
    generate = [
        "openapi-python-client",
        "generate",
        "--path",
        str(tmp_path / "openapi.json"),
        "--meta",
        "none",
    ]
    target = ["--output-path", str(tmp_path / "nucleus_client")]
    run_checked([*generate, *target], deadline_seconds=120, environment=environment)
    calls = [
        str(FOLDER / "bin/python"),
        str(tmp_path / "calls.py"),
        site["NUCLEUS_URL"],
        site["NUCLEUS_TOKEN"],
    ]
    lines = run_checked(calls, deadline_seconds=300, environment=environment).text.splitlines()
    assert len(lines) == 20
    answers = [line.split() for line in lines]
    assert [status for _, status, _ in answers if not status.startswith("2")] == ["404", "400", "400"], lines
    assert {shape for _, status, shape in answers if not status.startswith("2")} == {"str"}
    assert "NoneType" not in {shape for _, status, shape in answers if status in ("200", "201")}
