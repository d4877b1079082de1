"""No job of Slurm shares a host with a machine: the host package's hooks in a real Slurm, on libvirt's test driver."""

import os
from collections.abc import Iterator

import pytest

from rocks.core.process import run
from rocks.inventory.slurm_drains import drain_nodes, nodes_drained_by_hooks
from tests.patience import patience
from tests.slurm_site import ACCOUNT, HOSTS, PARTITION, SlurmSite
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

FIRST, OTHERS = HOSTS[0], HOSTS[1:]
REASON = "vm-without-job"
_SLOW_IN_PROLOG = """#!/bin/sh
[ "$SLURM_SCRIPT_CONTEXT" != prolog_slurmd ] || exec sleep 600
exec /usr/bin/scontrol "$@"
"""


@pytest.fixture
def hosts(slurm: SlurmSite) -> Iterator[SlurmSite]:
    """Hosts that look at their machines; none has one."""
    with slurm.checked_hosts():
        yield slurm
        for host in HOSTS:
            slurm.set_machine(host, None)
            slurm.set_copy(host, None)
        slurm.clear()


def _computeset(slurm: SlurmSite, name: str, *options: str, is_root: bool = False) -> str:
    """A job as that of a computeset; or of root, who is not Nucleus's user here."""
    return slurm.ask(
        "sbatch", "--parsable", "-p", PARTITION, "-A", ACCOUNT, "--exclusive", "--requeue", "--no-kill", "-D", "/",
        "-o", "/dev/null", "-J", name, *options, "--wrap", "exec sleep 600", is_root=is_root,
    )  # fmt: skip


def _state(slurm: SlurmSite, number: str) -> str:
    return slurm.ask("squeue", "-h", "-j", number, "-o", "%T")


def _is_admitted(slurm: SlurmSite, number: str) -> bool:
    """Whether it runs, and all prologs have ended."""
    return slurm.ask("squeue", "-h", "-j", number, "-o", "%T %r") == "RUNNING None"


def _node(slurm: SlurmSite, host: str) -> tuple[str, str]:
    """State and reason of a host."""
    state, _, reason = slurm.ask("sinfo", "-h", "-N", "-n", host, "-p", PARTITION, "-o", "%T|%E").partition(
        "|"
    )
    return state, reason


def test_a_host_that_rocks_drains_or_removes_gets_no_more_jobs(
    hosts: SlurmSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    monkeypatch.setenv("PATH", f"{hosts.root_bin}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_CONF", str(hosts.folder / "etc/slurm.conf"))
    running = _computeset(hosts, "VC-JOB-3-a", "-N1", "-w", FIRST)
    wait_until(lambda: _state(hosts, running) == "RUNNING")
    for host in (FIRST, "no-node"):
        drain_nodes([host], "rocks drain host", lines.append)
    assert _node(hosts, FIRST) == ("draining", "rocks drain host") and _state(hosts, running) == "RUNNING"
    resume = f"scontrol update nodename={FIRST} state=resume"
    assert lines == [f"Slurm gives {FIRST} no more jobs until `{resume}`"]
    drain_nodes([FIRST], "rocks remove host", lines.append)
    assert (
        lines.pop()
        == f"Slurm gives {FIRST} no more jobs until `{resume}`; it was drained before: rocks drain host"
    )
    assert _node(hosts, FIRST) == ("draining", "rocks drain host")
    hosts.ask(*resume.split())
    monkeypatch.setenv("PATH", f"{hosts.bin}:{os.environ['PATH']}")
    drain_nodes([FIRST], "rocks drain host", lines.append)
    assert lines[1].startswith(f"Slurm may give {FIRST} to further jobs (") and lines[1].endswith(
        "'reason=rocks drain host'`"
    )
    monkeypatch.delenv("SLURM_CONF")
    drain_nodes([FIRST], "rocks drain host", lines.append)
    assert len(lines) == 2, "a site without Slurm"


def test_a_job_is_not_started_on_a_host_with_a_machine(
    hosts: SlurmSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts.set_machine(FIRST, "vm-other-0")
    number = _computeset(hosts, "VC-JOB-1-a", "-N4")
    wait_until(lambda: _node(hosts, FIRST) == ("drained", REASON), lambda: str(_node(hosts, FIRST)))
    wait_until(lambda: _state(hosts, number) == "PENDING", "the job is requeued while the machine runs")
    monkeypatch.setenv("PATH", f"{hosts.bin}:{os.environ['PATH']}")
    assert nodes_drained_by_hooks(patience(20)) == {FIRST: REASON}
    hosts.set_machine(FIRST, None)
    wait_until(lambda: _state(hosts, number) == "RUNNING", "the host is resumed, and the job begins")
    rows = hosts.ask("sacct", "-n", "-X", "-D", "-P", "-j", number, "-S", "now-1day", "-o", "State").split()
    assert rows[-1] == "RUNNING" and set(rows[:-1]) <= {"REQUEUED"}


def test_a_host_is_free_when_its_machine_is_off_and_its_image_written_back(hosts: SlurmSite) -> None:
    number = _computeset(hosts, "VC-JOB-2-a", "-N1", "-w", FIRST)
    wait_until(lambda: _is_admitted(hosts, number))
    hosts.set_machine(FIRST, "vm-vc2-0")
    hosts.set_copy(FIRST, "dirty")
    hosts.ask("scancel", number)
    wait_until(lambda: _state(hosts, number) == "COMPLETING")
    batch = hosts.ask("sbatch", "--parsable", "-p", "batch", "-A", ACCOUNT, "-N1", "-w", FIRST, "-D", "/",
                      "-o", "/dev/null", "--wrap", "exec sleep 600")  # fmt: skip
    wait_until(lambda: _node(hosts, FIRST)[1] == REASON, "a health check has seen the machine")
    assert (_state(hosts, number), _state(hosts, batch)) == ("COMPLETING", "PENDING")
    hosts.set_machine(FIRST, None)
    calls = hosts.folder / "hosts" / FIRST / "bin/zfs.calls"
    before = calls.stat().st_size
    wait_until(lambda: calls.stat().st_size > before + 1, "the epilog has looked again since")
    assert (_state(hosts, number), _state(hosts, batch)) == ("COMPLETING", "PENDING")
    hosts.set_copy(FIRST, "clean")
    wait_until(lambda: _state(hosts, batch) == "RUNNING", lambda: str(_node(hosts, FIRST)))
    assert _node(hosts, FIRST)[1] == "none"


def test_a_host_that_comes_back_with_a_machine_gets_no_job(hosts: SlurmSite) -> None:
    number = _computeset(hosts, "VC-JOB-3-a", "-N2", "-w", ",".join(HOSTS[:2]))
    wait_until(lambda: _is_admitted(hosts, number))
    holder = hosts.ask("squeue", "-h", "-j", number, "-o", "%B")
    lost = next(host for host in HOSTS[:2] if host != holder)
    hosts.set_machine(lost, "vm-vc2-1")
    hosts.signal(f"slurmd.{lost}", "KILL")
    wait_until(lambda: _node(hosts, lost)[0].startswith("down"), lambda: str(_node(hosts, lost)))
    batch = hosts.ask("sbatch", "--parsable", "-p", "batch", "-A", ACCOUNT, "-N1", "-w", lost, "-D", "/",
                      "-o", "/dev/null", "--wrap", "exec sleep 600")  # fmt: skip
    hosts.start_host(lost)
    wait_until(lambda: _node(hosts, lost) == ("drained", REASON), lambda: str(_node(hosts, lost)))
    assert (_state(hosts, number), _state(hosts, batch)) == ("RUNNING", "PENDING")
    hosts.set_machine(lost, None)
    wait_until(lambda: _state(hosts, batch) == "RUNNING", lambda: str(_node(hosts, lost)))


def test_a_host_whose_hook_is_killed_gets_no_job_while_its_machine_runs(
    hosts: SlurmSite, request: pytest.FixtureRequest
) -> None:
    def resume() -> None:
        """As an operator does where no health check may."""
        program = str(hosts.root_bin / "scontrol")
        run((program, "update", f"nodename={FIRST}", "state=resume"), deadline_seconds=60)

    def is_drained() -> bool:
        return _node(hosts, FIRST)[0] == "drained"

    request.addfinalizer(resume)
    request.addfinalizer(lambda: hosts.set_machine(FIRST, None))
    slow = hosts.folder / "hosts" / FIRST / "bin/scontrol"
    slow.parent.mkdir(parents=True)
    slow.write_text(_SLOW_IN_PROLOG, "ascii")
    slow.chmod(0o755)
    hosts.set_machine(FIRST, "vm-other-0")
    number = _computeset(hosts, "VC-JOB-5-a", "-N1", "-w", FIRST)
    hosts.kill_hook(FIRST, "prolog_slurmd")
    wait_until(lambda: _node(hosts, FIRST)[0].startswith("drain"), lambda: str(_node(hosts, FIRST)))
    assert _state(hosts, number) in ("COMPLETING", "PENDING")
    slow.unlink()
    hosts.set_machine(FIRST, None)
    wait_until(lambda: _state(hosts, number) == "PENDING", lambda: str(_node(hosts, FIRST)))
    resume()
    wait_until(lambda: _is_admitted(hosts, number), lambda: str(_node(hosts, FIRST)))

    hosts.set_machine(FIRST, "vm-vc2-0")
    hosts.ask("scancel", number)
    hosts.kill_hook(FIRST, "epilog_slurmd")
    batch = hosts.ask("sbatch", "--parsable", "-p", "batch", "-A", ACCOUNT, "-N1", "-w", FIRST, "-D", "/",
                      "-o", "/dev/null", "--wrap", "exec sleep 600")  # fmt: skip
    wait_until(is_drained, lambda: str(_node(hosts, FIRST)))
    assert _state(hosts, batch) == "PENDING"
    hosts.set_machine(FIRST, None)
    resume()
    wait_until(lambda: _state(hosts, batch) == "RUNNING", lambda: str(_node(hosts, FIRST)))


@pytest.mark.parametrize(
    ("is_root", "name"), [(False, "nucleus-4"), (True, "nucleus-4"), (True, "x\n65534|nucleus-4\nnucleus-4")]
)
def test_a_machine_beside_a_job_of_such_a_name_is_believed_of_the_user_of_nucleus_only(
    hosts: SlurmSite, is_root: bool, name: str
) -> None:
    number = _computeset(hosts, name, "-N1", "-w", FIRST, is_root=is_root)
    wait_until(lambda: _is_admitted(hosts, number))
    hosts.set_machine(FIRST, "vm-vc2-0")
    hook = str(hosts.folder / "hook")
    hosts.run_inside("env", "-u", "SLURM_SCRIPT_CONTEXT", f"SLURMD_NODENAME={FIRST}", hook)
    assert _node(hosts, FIRST)[1] == (REASON if is_root else "none")
    assert _state(hosts, number) == "RUNNING"
