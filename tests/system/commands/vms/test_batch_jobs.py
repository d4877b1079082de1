"""No machine starts on a host with a batch job of Slurm without force: a real slurmctld says which has one."""

import os
from collections.abc import Iterator

import pytest

from rocks.core import job_user
from rocks.database.settings import Settings
from rocks.inventory.slurm_drains import batch_jobs
from rocks.machine import drain, start
from tests.slurm_site import ACCOUNT, USER, SlurmSite, slurm_site
from tests.system.commands.conftest import Site
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

BUSY, FREE = "vmc-0-0", "vmc-0-1"


@pytest.fixture(scope="module")
def slurm(mariadb: Settings) -> Iterator[SlurmSite]:
    assert mariadb.socket is not None
    with slurm_site(mariadb.socket, (BUSY, FREE)) as started:
        yield started


@pytest.fixture
def site(vm_site: Site, slurm: SlurmSite) -> Iterator[Site]:
    """`web` is to start on one host, `mail` on the other; the first has a batch job of root's."""
    vm_site.patch.setenv("PATH", f"{slurm.root_bin}:{os.environ['PATH']}")
    vm_site.patch.setenv("SLURM_CONF", str(slurm.folder / "etc/slurm.conf"))
    vm_site.patch.setattr(job_user, "SETTINGS", slurm.folder / "etc/host-free.conf")
    for name, host in (("web", BUSY), ("mail", FREE)):
        vm_site.done("add host vm", host, "membership=Hosted VM", f"name={name}")
    yield vm_site
    slurm.ask("scancel", "-u", "root")
    slurm.clear()


def job_on(slurm: SlurmSite, host: str, *, is_root: bool = True) -> str:
    number = slurm.ask(
        "sbatch", "--parsable", "-p", "batch", "-w", host, "-A", ACCOUNT, "-D", "/", "-o", "/dev/null",
        "--wrap", "exec sleep 600", is_root=is_root,
    )  # fmt: skip
    wait_until(lambda: slurm.ask("squeue", "-h", "-j", number, "-o", "%T") == "RUNNING", "the job runs")
    return number


def test_a_start_beside_a_batch_job_needs_force(site: Site, slurm: SlurmSite) -> None:
    """A dry run says so, too. Nucleus's own starts are not asked: its job has the host."""
    number = job_on(slurm, BUSY)
    assert batch_jobs([BUSY, FREE, "no-node"]) == {BUSY: (f"job {number} of root",)}
    assert batch_jobs([]) == {}
    refused = (
        f"web is not started: Slurm has job {number} of root on {BUSY}, which would share its processors"
    )
    for line in (
        "start host vm web", "create host vm web", "start host vm web dry-run=yes", "set host power web action=on"
    ):  # fmt: skip
        message = site.refused(*line.split())
        assert message.startswith(refused)
        assert "rocks start host vm web force=yes" in message
    both = site.rocks("start host vm web mail")
    assert refused in both.err and "mail is not started: Slurm" not in both.err
    assert refused not in site.rocks("start host vm web force=yes").err
    site.patch.setenv("ROCKS_SOURCE", "nucleus")
    for name in ("SUDO_USER", "SUDO_UID"):
        site.patch.delenv(name, raising=False)
    site.patch.setattr("rocks.core.callers._login", lambda: "")
    assert refused not in site.rocks("start host vm web").err


def test_a_job_of_the_user_of_nucleus_is_no_batch_job(site: Site, slurm: SlurmSite) -> None:
    """It holds the host for machines: an operator, too, may start these."""
    job_on(slurm, BUSY, is_root=False)
    assert slurm.ask("squeue", "-h", "-t", "RUNNING", "-o", "%u") == USER
    assert batch_jobs([BUSY, FREE]) == {}
    assert "Slurm has" not in site.rocks("start host vm web mail").err


def test_a_host_with_a_batch_job_gets_no_machine_of_another_host(site: Site, slurm: SlurmSite) -> None:
    number = job_on(slurm, BUSY)
    site.patch.setattr(drain, "contact_hosts", lambda *_, **__: {BUSY: start})
    message = site.refused("drain", "host", FREE, f"to={BUSY}")
    assert f"{BUSY} gets no machine: Slurm has job {number} of root there" in message
    live = site.refused("move", "host", "vm", "mail", BUSY, "live=yes")
    assert f"mail is not moved: Slurm has job {number} of root on {BUSY}" in live


def test_a_silent_slurm_prevents_no_start(site: Site, slurm: SlurmSite) -> None:
    """squeue fails with a configuration that is none."""
    site.patch.setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
    site.patch.setenv("SLURM_CONF", str(slurm.folder / "etc/hosts"))
    ended = site.rocks("start host vm web")
    assert "whether hosts have batch jobs is not known: squeue failed" in ended.err
    assert "web is not started: Slurm has" not in ended.err
