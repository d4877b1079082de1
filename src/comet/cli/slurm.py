"""`comet-slurm`: the nodes of a cluster's own Slurm are computes, each in a computeset of its own while Slurm needs it.

Slurm starts this program as its ResumeProgram and its SuspendProgram, and cron each minute.

The comment of a node names its computeset (`computeset 7`): only such a computeset is ended. It is `computeset 0` from
before one is asked for until its number is known, so that the next run finds what a killed one has started, and takes
no computeset of an owner's own for it. The states of nodes are those of Slurm 22.05, where each of them was seen.
"""

from __future__ import annotations

import re
import secrets
from typing import NamedTuple, NoReturn, Optional

from comet.cli.batch_system import (
    BEFORE_END,
    Job,
    cluster_and_sets,
    ends_soon,
    for_each,
    one_line,
    output_of,
    reason_of_end,
    run,
    start,
)
from comet.client.client import Client
from comet.client.errors import CometError, UnreachableError, UsageError
from comet.client.hostlists import expand_hostlist
from comet.client.records import ClusterRecord, Computeset

CONFIGURATION = "/etc/slurm/comet.toml"
_DOWN = {"POWERED_DOWN", "POWERING_DOWN"}
_UNKNOWN = 0
"""The number of a computeset that was asked for, until it is known."""


class SlurmNode(NamedTuple):
    """A node with State=CLOUD: the flags of its state, and the number of the computeset in its comment."""

    name: str
    flags: frozenset[str]
    number: Optional[int]

    @property
    def is_new(self) -> bool:
        """Slurm powers it up, and no computeset is known that was started for that."""
        return "POWERING_UP" in self.flags and not self.number


def read_nodes(text: str) -> list[SlurmNode]:
    """Nodes of `scontrol --oneliner show nodes`. Pure."""
    found = []
    for line in text.splitlines():
        # a reason may have text of other people; the comment is behind it
        match = re.match(r"NodeName=(\S+) .*?\bState=(\S+)", line)
        without = re.sub(r" Reason=.*\[\S+@[0-9T:-]+\]", "", line)
        comment = re.search(r" Comment=computeset ([0-9]{1,15})(?= |$)", without)
        if match and "CLOUD" in match[2].split("+"):
            flags = frozenset(match[2].rstrip("*").split("+"))
            found.append(SlurmNode(match[1], flags, int(comment[1]) if comment else None))
    return found


def read_jobs(text: str, mark: str) -> dict[str, Job]:
    """Node → the job on it that needs the longest, of lines `mark|D-HH:MM:SS|nodes|account` of squeue. Pure."""
    found: dict[str, Job] = {}
    for line in text.split("\n"):
        # an account is any text of a person, where Slurm does not demand one that it knows: also several lines
        first, left, nodes, account = (line.split("|", 3) + ["", "", ""])[:4]
        if first != mark:
            continue
        job = Job(_minutes(left), account)
        needed = 1 << 30 if job.minutes is None else job.minutes
        try:
            names = expand_hostlist(nodes) if nodes else []
        except UsageError:
            continue
        for name in names:
            known = found.get(name)
            if known is None or (known.minutes is not None and needed > known.minutes):
                found[name] = job
    return found


def _minutes(left: str) -> Optional[int]:
    match = re.fullmatch(r"(?:([0-9]{1,9})-)?(?:([0-9]{1,9}):)?([0-9]{1,9}):([0-9]{1,9})", left)
    if not match:
        return None  # UNLIMITED
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return days * 1440 + hours * 60 + minutes + (seconds > 0)


def step(node: SlurmNode, found: Optional[Computeset], now: float) -> str:
    """What to do about a node and the computeset that it is in: start, adopt, power down, end, forget, or "". Pure."""
    living = found if found is not None and found.state in BEFORE_END else None
    if living and living.merged:
        return ""  # its end would end other nodes, too: its owner has merged it, and ends it
    # by a run that was killed: its computeset has this node alone
    is_adopted = living is not None and node.number == _UNKNOWN and len(living.computes) == 1
    if node.flags & _DOWN:
        if node.number is None:
            return ""  # an owner's own
        return "end" if living and (living.id == node.number or is_adopted) else "forget"
    if "POWER_DOWN" in node.flags:
        return ""  # Slurm waits for its jobs
    if living and not ends_soon(living, now) and not _is_lost(node, living):
        return "adopt" if is_adopted else ""
    if node.is_new:
        return "start" if found is None else ""  # its disk is on the way to the NAS; a later run starts it
    return "power down"


def _is_lost(node: SlurmNode, living: Computeset) -> bool:
    """Whether Slurm has found the node down, and its compute is off: a guest that crashed, or was powered off."""
    off = {it.name.casefold() for it in living.computes if it.power == "off"}
    is_own = living.id == node.number and living.state == "running"
    return is_own and "DOWN" in node.flags and node.name.casefold() in off


class Slurm:
    """The Slurm of this machine, by its programs. OSError or SubprocessError where they fail."""

    def cluster(self) -> str:
        """ClusterName."""
        found = re.search(r"(?m)^ClusterName\s*= (\S+)", self._run("scontrol", "show", "config"))
        return found[1] if found else ""

    def nodes(self) -> list[SlurmNode]:
        return read_nodes(self._run("scontrol", "--oneliner", "show", "nodes"))

    def jobs(self) -> dict[str, Job]:
        mark = secrets.token_hex(8)  # nobody can have a line with it in an account
        states = "--states=CONFIGURING,RUNNING"
        return read_jobs(self._run("squeue", "--noheader", states, f"--format={mark}|%L|%N|%a"), mark)

    def note(self, name: str, number: Optional[int]) -> None:
        """Have the comment of a node name its computeset, or none."""
        self._run(
            "scontrol",
            "update",
            f"nodename={name}",
            f"comment={'' if number is None else f'computeset {number}'}",
        )

    def power_down(self, name: str, reason: str, is_lost: bool = False) -> None:
        """Power a node down; its jobs are requeued, and sinfo prints the reason.

        `is_lost`: its slurmd may be off. Jobs would be COMPLETING until it answers, so the node is down first.
        """
        text = f"reason={one_line(reason)}"
        for state in ("down",) * is_lost + ("power_down_force",):
            self._run("scontrol", "update", f"nodename={name}", f"state={state}", text)

    def resume(self, name: str) -> None:
        """Have a node that is down be one that Slurm may power up."""
        self._run("scontrol", "update", f"nodename={name}", "state=resume")

    _run = staticmethod(output_of)


def agree(client: Client, slurm: Slurm) -> None:
    """Start and end computesets until they agree with Slurm's nodes. The last error of a node is raised at the end.

    A refusal powers down the nodes that wait for a computeset. While Nucleus is away, nothing changes.
    """

    def refuse(reason: str) -> None:
        for node in slurm.nodes():
            if node.is_new:
                slurm.power_down(node.name, reason)

    cluster, living = cluster_and_sets(client, slurm.cluster(), refuse)
    sets = {compute.name.casefold(): it for it in living for compute in it.computes}
    nodes = slurm.nodes()  # after the computesets: one that is ended below was there before its node was down
    jobs = slurm.jobs() if any(node.is_new for node in nodes) else {}

    def act(node: SlurmNode) -> None:
        found = sets.get(node.name.casefold())
        chosen = step(node, found, client.connection.now())
        if chosen == "start":
            _start(client, slurm, cluster, node.name, jobs.get(node.name, Job(None, "")))
        else:
            _follow(client, slurm, node, found, chosen)

    for_each(nodes, act)


def _follow(client: Client, slurm: Slurm, node: SlurmNode, found: Optional[Computeset], chosen: str) -> None:
    if chosen == "adopt" and found is not None:
        slurm.note(node.name, found.id)
    elif chosen == "power down":
        slurm.power_down(node.name, _reason(client, node, found), is_lost=True)
    elif chosen == "end" and found is not None:
        client.terminate(found.id)
    is_down = "DOWN" in node.flags  # also after ResumeTimeout; Slurm would leave it so
    if chosen in ("end", "forget") and (not is_down or "POWERED_DOWN" in node.flags):
        if is_down:
            slurm.resume(node.name)
        slurm.note(node.name, None)


def _start(client: Client, slurm: Slurm, cluster: ClusterRecord, name: str, job: Job) -> None:
    slurm.note(name, _UNKNOWN)
    try:
        number = start(client, cluster, [name], job)
    except CometError as error:
        if not isinstance(error, UnreachableError):  # else it may be started: the next run looks for it
            slurm.note(name, None)
            slurm.power_down(name, str(error))
        raise
    slurm.note(name, number)


def _reason(client: Client, node: SlurmNode, found: Optional[Computeset]) -> str:
    """Why a node that Slurm has powered up has no computeset."""
    if found is not None and found.state in BEFORE_END:
        why = "it is off, and" if _is_lost(node, found) else "the walltime of"
        return f"{why} computeset {found.id} ends"
    number = found.id if found is not None else node.number
    return "it is in no computeset" if not number else reason_of_end(client, number, found)


def program() -> NoReturn:
    """`comet-slurm`."""
    run("comet-slurm", CONFIGURATION, lambda client: agree(client, Slurm()))
