"""`rocks-host-free`: Slurm's Prolog, Epilog and HealthCheckProgram on a host, so that no job shares it with a machine.

Slurm offers a host whose slurmd was killed, or that was down, while a machine still runs there (seen with 22.05.8). So
each host looks at what it has itself, domains of libvirt and images of NASes, in every partition:

prolog  a host with a machine is drained, and the job is requeued; its epilog, which follows, then does nothing.
epilog  waits until the host is free, and has written all changes of images back to their NASes; after an hour the host
        is drained. Two may run at the same time.
health  a host with a machine and without a job of Nucleus is drained, and resumed when it is free.

Only slurmctld is asked besides, about this host; one that does not answer is asked again by the next check. What cannot
be found out about machines counts as not free. Everybody can give a job the name of Nucleus's: its user decides, by the
number that slurmctld has, for hosts need no such user.
"""

from __future__ import annotations

import os
import re
import sys
from contextlib import closing, suppress
from pathlib import Path
from typing import Callable, List, NamedTuple, Optional

from rocks.core import job_user
from rocks.core.clock import Deadline, wait_seconds
from rocks.core.drain_reasons import IMAGE_LATE, VM_WITHOUT_JOB
from rocks.core.errors import RocksError, ToolError, UserError
from rocks.core.files import write_file
from rocks.core.process import run_checked
from rocks.fleet.host.state_folder import Place, ensure_folder
from rocks.storage.mapped_volumes import mapped_images

EPILOG_SECONDS = 3600.0
_DAEMONS = ("/usr/sbin/libvirtd", "/usr/sbin/virtqemud")
_PROCESSES = Path("/proc")
_PEOPLE = range(1000, 60000)  # who may run QEMU in a job; libvirt's user is 64055 on Debian, 107 on Rocky
_POLL_SECONDS = 5.0
_COMMAND_SECONDS = 20.0
_JOB = re.compile(r"VC-JOB-\d+-[0-9a-z]+|nucleus-\d+")  # of a computeset, or of a reservation


class Node(NamedTuple):
    """This host as slurmctld knows it; `has_job`: one of Nucleus."""

    is_drained: bool
    reason: str
    has_job: bool


def find_use(state_folder: Path) -> List[str]:
    """What this host has of virtual machines, for a log; empty when it is free."""
    from rocks.machine.host.facts import starts_in_progress

    try:
        return [
            # first: a start that has ended when they are read is a machine
            *(f"start of {name}" for name in sorted(starts_in_progress(state_folder))),
            *_machines(),
            *(f"image {device}" for device in sorted(mapped_images(state_folder))),
        ]
    except (RocksError, OSError) as error:
        return [str(error)]


def _machines() -> List[str]:
    # a missing Python module proves nothing: an upgrade may have removed it
    if not any(Path(daemon).exists() for daemon in _DAEMONS):
        return [f"process {number} of QEMU" for number in _emulators()]
    from rocks.machine.host.libvirt.domains import Domains

    with closing(Domains()) as domains:
        return [f"machine {fact.name}" for fact in domains.facts() if fact.state != "shutoff"]


def _emulators() -> List[str]:
    """Processes of QEMU that are not people's own: machines go on when the package of libvirt is removed."""
    from rocks.machine.host.libvirt.accelerator import EMULATORS

    found = []
    for process in _PROCESSES.glob("[0-9]*"):
        try:
            program = str((process / "exe").readlink()).replace(" (deleted)", "")
            if program in EMULATORS and process.stat().st_uid not in _PEOPLE:
                found.append(process.name)
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended, or is the kernel's
    return sorted(found, key=int)


def find_unsaved(state_folder: Path) -> List[str]:
    """What this host has not written back yet to NASes, for a log; empty on a host that never had an image of one.

    An image is not mapped any more while that is done.
    """
    from rocks.storage.host.retained_copies import retained_copies
    from rocks.storage.zfs.pool import PoolDriver
    from rocks.storage.zfs.tool import ZfsCommandLine

    if not Place.MAPPED.below(state_folder).is_dir():
        return []
    pools = PoolDriver(ZfsCommandLine())
    try:
        copies = [copy for pool in pools.list_pools() for copy in retained_copies(pools, pool)]
    except (RocksError, OSError) as error:
        return [str(error)]
    return [f"changes of {copy.pool}/{copy.zvol}" for copy in copies if copy.kind == "dirty"]


def change_of(is_used: bool, node: Node) -> Optional[str]:
    """State that the health check gives this host: drain, resume or None. Pure."""
    if is_used:
        return None if node.is_drained or node.has_job else "drain"
    return "resume" if node.is_drained and node.reason == VM_WITHOUT_JOB else None


def run_hook(context: str, name: str, refused: Path, use: Callable[[], List[str]]) -> int:
    """Do what Slurm's hook of that SLURM_SCRIPT_CONTEXT does on the node `name`; returns the exit status.

    `refused`: the note that the job's prolog refuses it.
    """
    found = use()
    if context.startswith("prolog"):
        return _prolog(name, found, refused)
    if context.startswith("epilog"):
        return _epilog(name, found, refused, use)
    node = _read(name) if found else _read_if_drained(name)
    if node is not None:
        _change(name, change_of(bool(found), node))
    return 0


def _prolog(name: str, found: List[str], refused: Path) -> int:
    if not found:
        with suppress(FileNotFoundError):
            refused.unlink()  # of an earlier run of the job, whose epilog was not run: that of this one waits
        return 0
    print(f"this host is not free: {', '.join(found)}", file=sys.stderr)
    write_file(refused, "")
    _change(name, "drain")  # else its reason is `Prolog error`, which nobody resumes
    return 1


def _epilog(name: str, found: List[str], refused: Path, use: Callable[[], List[str]]) -> int:
    if refused.exists():
        refused.unlink()
        return 0
    if not found:
        return 0
    deadline = Deadline(EPILOG_SECONDS)
    while found and not deadline.passed():
        wait_seconds(_POLL_SECONDS)
        found = use()
    if found:
        print(f"this host is not free: {', '.join(found)}", file=sys.stderr)
        _change(name, "drain", IMAGE_LATE)
        return 1
    node = _read_if_drained(name)  # by a health check meanwhile
    if node is not None:
        _change(name, change_of(False, node))
    return 0


def _read_if_drained(name: str) -> Optional[Node]:
    """None while slurmctld does not answer, too."""
    try:
        output = _ask("sinfo", "--noheader", "--Node", f"--nodes={name}", "--format=%T|%E")
    except ToolError as error:
        print(error, file=sys.stderr)
        return None
    state, _, reason = (output.splitlines() or [""])[0].partition("|")
    return Node(True, reason, False) if state.startswith("drain") else None


def _read(name: str) -> Optional[Node]:
    drained = _read_if_drained(name)
    if drained is not None:
        return drained
    try:
        return Node(False, "", any(_JOB.fullmatch(job) for job in _jobs_of_user(name)))
    except RocksError as error:
        print(error, file=sys.stderr)
        return None


def _jobs_of_user(name: str) -> List[str]:
    """Names of the jobs that Nucleus's user has on this host; one with a newline is several.

    Numbers are asked first: a name of another user may have lines that look like any answer. `squeue --user` takes no
    number of a user whom this host does not have.
    """
    states = "--states=RUNNING,CONFIGURING"
    lines = _ask("squeue", "--noheader", f"--nodelist={name}", states, "--format=%U %A").splitlines()
    user = _user_number() if lines else ""
    numbers = [number for owner, number in map(str.split, lines) if owner == user]
    if not numbers:
        return []
    return _ask("squeue", "--noheader", f"--jobs={','.join(numbers)}", states, "--format=%j").splitlines()


def _user_number() -> str:
    """The number of Nucleus's user for slurmctld. Raises UserError when it has none."""
    user = job_user.user_of_jobs()
    known = _ask("scontrol", "show", "assoc_mgr", f"users={user}", "flags=users")
    found = re.search(rf"^UserName={re.escape(user)}\((\d+)\)", known, re.MULTILINE)
    if not found:
        raise UserError(
            f"the user of Nucleus is not known: slurmctld has no user {user}; compare `sacctmgr show user` with the "
            f"line `user = NAME` of {job_user.SETTINGS}; this host's state is not changed"
        )
    return found[1]


def _change(name: str, state: Optional[str], reason: str = VM_WITHOUT_JOB) -> None:
    if state is None:
        return
    options = [f"reason={reason}"] if state == "drain" else []
    try:
        _ask("scontrol", "update", f"nodename={name}", f"state={state}", *options)
    except ToolError as error:
        print(error, file=sys.stderr)


def _ask(program: str, *arguments: str) -> str:
    return run_checked((program, *arguments), deadline_seconds=_COMMAND_SECONDS).text


def main(state_folder: Path) -> int:
    """Run the hook that Slurm's variables name; 2 when it was not started by slurmd."""
    name = os.environ.get("SLURMD_NODENAME", "")
    if not name:
        print("rocks-host-free is started by slurmd, which sets SLURMD_NODENAME", file=sys.stderr)
        return 2
    job = os.environ.get("SLURM_JOB_ID", "")
    refused = ensure_folder(Place.REFUSED_JOBS.below(state_folder)) / (job if job.isdigit() else "unknown")
    context = os.environ.get("SLURM_SCRIPT_CONTEXT", "")

    def use() -> List[str]:
        unsaved = find_unsaved(state_folder) if context.startswith("epilog") else []
        return find_use(state_folder) + unsaved

    return run_hook(context, name, refused, use)
