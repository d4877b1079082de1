"""slurm.conf of a site whose Slurm this system sets up, from the hosts of the database. Pure.

It has what `nucleus check slurm` demands. Hosts get it from slurmctld when slurmd starts (configless), so only the
frontend has the file. Lines of the site come last: of a parameter that is there twice, Slurm takes the last one (seen
with 22.05.8). Of programs before and after jobs, 24.11 runs those of all lines: where the site has one, ours is left
out.

No daemon has a log besides the journal. The rotation of Debian's packages does nothing on a host without slurm.conf,
whose slurmd would go on writing into a file that is gone; on the frontend it has slurmctld read its files again.
"""

from __future__ import annotations

import re
from itertools import islice, product
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import StateError
from rocks.core.names import misread, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MARK = "# Written by rocks sync slurm"
LEFT_OUT = "# left out:"
COMPUTESETS = "virt"
"""The partition of hosts that run virtual machines: `[batch] partition` of Nucleus."""

_TEXT = """\
{mark}; changes are lost. The lines of the site are in site.conf beside it: change that, then rocks sync slurm
# Never run `scontrol reconfigure` after the set of nodes has changed: it ends slurmctld.
ClusterName=rocks
SlurmctldHost={frontend}({address})
SlurmctldParameters=enable_configless
SlurmUser=slurm
StateSaveLocation=/var/lib/slurm/slurmctld
SlurmdSpoolDir=/var/lib/slurm/slurmd
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
ProctrackType=proctrack/linuxproc
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=nohold_on_prolog_fail,batch_sched_delay=0
ReturnToService=1
PrologFlags=Alloc
Prolog={hook}
Epilog={hook}
HealthCheckProgram={hook}
HealthCheckInterval=30
HealthCheckNodeState=ANY
EnforcePartLimits=ALL
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost={address}
AccountingStorageEnforce=associations,limits,qos,safe
# the node hours of an account do not come back by themselves
PriorityType=priority/multifactor
PriorityDecayHalfLife=0
PriorityUsageResetPeriod=NONE
{nodes}
PartitionName=batch Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
_PARTITION = (
    f"PartitionName={COMPUTESETS} Nodes={{}} OverSubscribe=EXCLUSIVE OverTimeLimit=120 MaxTime=2-0 State=UP\n"
)
_HOOK = "/opt/rocks/libexec/rocks-host-free"
_WORD = re.compile(r"[A-Za-z0-9_.:-]+")
_NODE = re.compile(r"^[ \t]*NodeName[ \t]*=[ \t]*(?!DEFAULT(?:\s|$))(\S+)", re.MULTILINE | re.IGNORECASE)
_ITEM = re.compile(r"(?:[^\s,\[]|\[[^\]]*(?:\]|$))+")
_NUMBERS = r"[0-9]{1,9}(?:-[0-9]{1,9})?"
_PART = re.compile(rf"\[({_NUMBERS}(?:,{_NUMBERS})*)\]|([^\[]+|\[)")
_MAX_NODES = 65536
"""Nodes of a Slurm."""
_LISTS = re.compile(r"^[ \t]*(Prolog|Epilog)[ \t]*=", re.MULTILINE | re.IGNORECASE)
"""Parameters of our text whose lines Slurm 24.11 takes all, not the last one."""

_INCLUDE = re.compile(r"^[ \t]*Include[ \t]", re.MULTILINE | re.IGNORECASE)


class SlurmNode(NamedTuple):
    """A host that gets jobs; `address` is None where the host's name is resolved. `has_machines`: of computesets."""

    name: str
    address: str | None
    cpus: int
    has_machines: bool


def slurm_configuration(frontend: str, address: str, nodes: Sequence[SlurmNode], site_lines: str) -> str:
    """The text of slurm.conf. `address` is the frontend's for all hosts, `site_lines` what the site adds.

    A node whose name slurmctld takes for something else is a comment: it does not start with it. StateError without
    nodes, with which it does not start either, and for a stored name or address that is none.
    """
    comments = [
        f"{LEFT_OUT} {node.name}: {reason}" for node in nodes if (reason := misread(node.name, ["Slurm"]))
    ]
    nodes = [node for node in nodes if not misread(node.name, ["Slurm"])]
    if not nodes:
        raise StateError(
            f"no host gets jobs of Slurm: rocks set appliance attr compute slurm_server {address}, or the same for "
            "another appliance or a host"
        )
    for word in (frontend, address, *(node.name for node in nodes), *(node.address or "-" for node in nodes)):
        if not _WORD.fullmatch(word):
            raise StateError(
                f'"{printable(word)}" is no name or address of a host: rocks list host interface'
            )
    text = _TEXT.format(
        mark=MARK,
        frontend=frontend,
        address=address,
        hook=_HOOK,
        nodes="\n".join([*comments, *map(_node_line, nodes)]),
    )
    of_computesets = [node.name for node in nodes if node.has_machines]
    partition = _PARTITION.format(",".join(of_computesets)) if of_computesets else ""
    for name in {found.capitalize() for found in _LISTS.findall(site_lines)}:
        text = text.replace(f"\n{name}={_HOOK}\n", "\n")
    return text + partition + site_lines


def check_named_once(nodes: Sequence[SlurmNode], site_lines: str, site_file: str) -> None:
    """StateError for a node of the site's lines that is one of the database, too: slurmctld does not start then."""
    for name in sorted(node_names(site_lines) & {node.name for node in nodes}):
        raise StateError(
            f"{site_file} has a line NodeName for {name}, which has one of the database, and slurmctld does not start "
            "with two: remove it there"
        )


def node_names(text: str) -> frozenset[str]:
    """The nodes of a text of `slurm_configuration`; the site's lines may have lists of them as `a[1-3,07],login`."""
    return frozenset(
        name for found in _NODE.findall(text) for item in _ITEM.findall(found) for name in _expanded(item)
    )


def _expanded(item: str) -> Iterator[str]:
    """As `scontrol show hostnames`, which needs a slurm.conf. Slurm has at most `_MAX_NODES`."""
    parts = [_numbers(numbers) if numbers else [text] for numbers, text in _PART.findall(item)]
    return islice(map("".join, product(*parts)), _MAX_NODES)


def _numbers(text: str) -> list[str]:
    found = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        for number in range(int(first), min(int(last or first), int(first) + _MAX_NODES) + 1):
            found.append(f"{number:0{len(first)}}")
    return found


def includes_files(text: str) -> bool:
    """Whether further nodes may be in files that the site's lines include."""
    return bool(_INCLUDE.search(text))


def _node_line(node: SlurmNode) -> str:
    address = f" NodeAddr={node.address}" if node.address else ""
    return f"NodeName={node.name}{address} CPUs={node.cpus}"
