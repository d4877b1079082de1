"""The Slurm of a virtual cluster: slurmctld on its frontend, computes that `comet-slurm` starts and ends.

A slurmd stands for the compute of the same name, when `computes_follow` sees that it is on. `comet-slurm` runs
in the network outside, where the tests' Nucleus is, and asks the Slurm inside.

Slurm 22.05 requeues a job whose slurmd does not confirm its start within MessageTimeout, and suspends the idle nodes
before it starts the job again: each node then has a second computeset. On a busy machine the usual 10 s are too short.
"""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rocks.core.process import Finished
from tests.slurm_site import SlurmSite, create_folder, namespaces

COMPUTES = tuple(f"vm-vc2-{number}" for number in range(4))
_SOURCE = Path(__file__).resolve().parent.parent / "src"

_CONFIGURATION = """
ClusterName=vc2
SlurmctldHost=slurm
SlurmctldPort=16917
SlurmUser=root
AuthInfo=socket={folder}/run/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd.%n.pid
SlurmctldLogFile={folder}/log/slurmctld
SlurmdLogFile={folder}/log/slurmd.%n
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SchedulerParameters=batch_sched_delay=0,sched_min_interval=10000,bf_interval=1
MpiDefault=none
MailProg=/bin/true
KillWait=5
MinJobAge=300
MessageTimeout=100
ResumeProgram={folder}/comet-slurm
SuspendProgram={folder}/comet-slurm
ResumeFailProgram={folder}/comet-slurm
ResumeTimeout={resume_seconds}
SuspendTime={suspend_seconds}
SuspendTimeout=5
PrivateData=cloud
NodeName=vm-vc2-[0-3] NodeHostname=slurm NodeAddr=192.0.2.1 Port=[16927-16930] CPUs=2 RealMemory=1000 State=CLOUD
PartitionName=batch Nodes=vm-vc2-[0-3] Default=YES MaxTime=INFINITE State=UP
"""

_PROGRAM = """#!/bin/sh
export PATH={folder}/inside:/usr/bin:/bin COMET_CONFIG={folder}/comet.toml PYTHONPATH={source}
exec nsenter --net=/proc/1/fd/8 {python} -S -c 'from comet.cli.slurm import program; program()' "$@"
"""
_INSIDE = """#!/bin/sh
exec nsenter --net=/proc/1/ns/net env SLURM_CONF={folder}/etc/slurm.conf /usr/bin/{program} "$@"
"""


class GuestSlurm(SlurmSite):
    """`comet_slurm` is the program as its users start it."""

    def permit(self, url: str, token: str) -> None:
        """Give the program an address and a token."""
        text = f'active = "site"\n\n[endpoints.site]\nurl = "{url}"\ntoken = "{token}"\n'
        path = self.folder / "comet.toml"
        path.write_text(text, "ascii")
        path.chmod(0o600)

    def comet_slurm(self, is_checked: bool = True) -> Finished:
        """Start the program as cron does."""
        return self.run_inside(f"{self.folder}/comet-slurm", is_checked=is_checked)

    @contextmanager
    def killed_before_it_notes(self) -> Iterator[None]:
        """With a program that is killed when it has started a computeset, and before it notes its number."""
        path, other = self.folder / "inside/scontrol", self.folder / "scontrol"
        path.rename(other)  # one that runs cannot be written
        kills = 'case "$*" in *"comment=computeset "[1-9]*) exec kill -KILL "$PPID" ;; esac'
        write_program(path, f'#!/bin/sh\n{kills}\nexec {other} "$@"\n')
        try:
            yield
        finally:
            other.replace(path)

    def node(self, name: str) -> str:
        """What Slurm prints of a compute."""
        return self.ask("scontrol", "--oneliner", "show", "node", name)

    @contextmanager
    def computes_follow(self, is_on: Callable[[str], bool]) -> Iterator[None]:
        """With a slurmd for each compute that is on."""
        stop, running = threading.Event(), set[str]()

        def follow() -> None:
            while not stop.wait(0.1):
                for name in COMPUTES:
                    if is_on(name) and name not in running:
                        self.start_host(name, "-b")
                        running.add(name)
                    elif not is_on(name) and name in running:
                        self.signal(f"slurmd.{name}", "KILL")
                        running.remove(name)

        thread = threading.Thread(target=follow)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def write_program(path: Path, text: str) -> None:
    path.write_text(text, "utf-8")
    path.chmod(0o755)


@contextmanager
def guest_slurm(resume_seconds: int = 300, suspend_seconds: int = 5) -> Iterator[GuestSlurm]:
    """A Slurm whose computes are powered down; it ends with the block."""
    folder = create_folder()
    text = _CONFIGURATION.format(
        folder=folder, resume_seconds=resume_seconds, suspend_seconds=suspend_seconds
    )
    (folder / "etc/slurm.conf").write_text(text, "ascii")
    (folder / "inside").mkdir()
    programs = {
        f"inside/{name}": _INSIDE.format(folder=folder, program=name) for name in ("scontrol", "squeue")
    }
    programs["comet-slurm"] = _PROGRAM.format(folder=folder, source=_SOURCE, python=sys.executable)
    for name, text in programs.items():
        write_program(folder / name, text)
    with namespaces(folder) as init:
        slurm = GuestSlurm(folder, init)
        slurm.start_controller()
        yield slurm
