"""The Ansible example: its playbooks start and stop the nodes of a cluster at a real service over a simulated site.

`make test-ansible` installs ansible-core into the folder that ANSIBLE names.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.namespace import CHECKOUT
from nucleus.configuration import DatabaseSettings
from nucleus.mirror import clusters, identity
from nucleus.mirror.pool import Pool
from nucleus.records import SYSTEM
from rocks.core.process import run
from tests.servers import free_port
from tests.system.nucleus.api.conftest import add_person
from tests.system.nucleus.test_computesets import program
from tests.waiting import wait_until

FOLDER = Path(os.environ.get("ANSIBLE", ""))
EXAMPLE = CHECKOUT / "examples/ansible"
pytestmark = pytest.mark.skipif(
    "ANSIBLE" not in os.environ,
    reason="ANSIBLE names no folder with ansible-core; `make test-ansible` makes one and runs this",
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
