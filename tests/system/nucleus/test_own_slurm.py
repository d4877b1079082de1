"""`rocks sync slurm`: what it does with a changed set of nodes, in a real Slurm."""

import os
from types import SimpleNamespace
from typing import Any

import pytest

from rocks.core.errors import StateError
from rocks.inventory import slurm_service
from rocks.inventory.slurm_service import sync_slurm
from tests.slurm_site import ACCOUNT, HOSTS, SlurmSite
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

LAST = HOSTS[-1]


class OwnSlurm:
    """The Slurm of the tests, whose nodes a test chooses in the place of the database."""

    def __init__(self, slurm: SlurmSite, monkeypatch: pytest.MonkeyPatch) -> None:
        self.slurm = slurm
        self.path = slurm.folder / "etc/slurm.conf"
        self.everything = self.requested = self.path.read_text("ascii")
        monkeypatch.setenv("PATH", f"{slurm.root_bin}:{os.environ['PATH']}")
        monkeypatch.setenv("SLURM_CONF", str(self.path))
        monkeypatch.setattr(slurm_service, "load_configuration", lambda _: (self.requested, HOSTS))
        monkeypatch.setattr(slurm_service, "runs_here", lambda: True)

    def sync(self) -> bool:
        """Whether the configuration changed."""
        database: Any = SimpleNamespace(end_reading=lambda: None, lock=lambda *_: None)
        return sync_slurm(database).changed

    def remove_last(self) -> None:
        lines = [line for line in self.everything.splitlines() if not line.startswith(f"NodeName={LAST} ")]
        self.requested = "\n".join(lines).replace(f",{LAST}", "") + "\n"

    def job_on(self, host: str) -> str:
        number = self.slurm.ask(
            "sbatch", "--parsable", "-p", "batch", "-w", host, "-A", ACCOUNT, "-D", "/", "-o", "/dev/null",
            "--wrap", "exec sleep 600",
        )  # fmt: skip
        wait_until(lambda: self.state(number) == "RUNNING", "the job runs")
        return number

    def state(self, number: str) -> str:
        return self.slurm.ask("squeue", "-h", "-j", number, "-o", "%T")

    def nodes(self) -> set[str]:
        return set(self.slurm.ask("sinfo", "-h", "-N", "-o", "%N").split())


@pytest.fixture
def own(slurm: SlurmSite, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> OwnSlurm:
    made = OwnSlurm(slurm, monkeypatch)

    def restore() -> None:
        made.requested = made.everything
        made.slurm.ask("scancel", "-u", "root")
        made.sync()
        slurm.clear()

    request.addfinalizer(restore)
    return made


def test_a_node_leaves_when_it_has_no_job_and_jobs_of_others_go_on(own: OwnSlurm) -> None:
    other, last = own.job_on(HOSTS[0]), own.job_on(LAST)
    own.remove_last()
    with pytest.raises(StateError, match=f"job {last} still has {LAST}.* drained"):
        own.sync()
    assert own.path.read_text("ascii") == own.everything
    assert (
        own.slurm.ask("sinfo", "-h", "-N", "-n", LAST, "-p", "batch", "-o", "%T|%E")
        == "draining|rocks sync slurm"
    )
    own.slurm.ask("scancel", last)
    wait_until(lambda: own.slurm.ask("squeue", "-h", "-w", LAST) == "", "the job has ended")
    assert own.sync() and not own.sync()
    assert own.nodes() == {*HOSTS[:-1]} and own.state(other) == "RUNNING"
    assert own.slurm.ask("sacct", "-n", "-X", "-P", "-j", last, "-o", "State") != "RUNNING"

    own.requested = own.everything
    assert own.sync(), "the host is added again"
    wait_until(lambda: own.nodes() == {*HOSTS}, "slurmctld has the added host")
    assert own.state(other) == "RUNNING"
    own.job_on(LAST)


def test_a_file_of_others_stays(own: OwnSlurm) -> None:
    own.path.write_text("ClusterName=other\n", "ascii")
    try:
        with pytest.raises(StateError, match="is not of this system: move it away"):
            own.sync()
        assert own.path.read_text("ascii") == "ClusterName=other\n"
    finally:
        own.path.write_text(own.everything, "ascii")
