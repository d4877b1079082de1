"""What owners type by habit: the command does it, or names the one that does."""

import re

from tests.system.comet.conftest import Site

RUNNER = """
import contextlib, io, json, re, shlex, sys
from comet.cli.main import run
found, sets = [], []
for line in sys.argv[1:]:
    line = re.sub('SET([12])', lambda one: (sets + ['0', '0'])[int(one[1]) - 1], line)
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            status = run(shlex.split(line))
        except SystemExit as end:
            status = int(end.code or 0)
    found.append([status, out.getvalue(), err.getvalue()])
    sets += re.findall('computeset ([0-9]+) is running', out.getvalue())
print(json.dumps(found))
"""
"""Runs each line as a command of `comet`, in one process: a start of Python takes longer than most of them.

SET1 and SET2 are the numbers of the first two sets that have run.
"""

DONE: tuple[tuple[str, str], ...] = (
    ("", "First commands:"),
    ("--version", "comet 1."),
    ("help power", "switch nodes on and off"),
    ("help drive", "comet iso attach"),
    ("ll", "| vc2 "),
    ("ll -o json", '"name": "vc2"'),
    ("ll --output=csv", "name,project,count,nodes"),
    ("ll 'v*'", "| vc2 "),
    ("cluster vc2 -o json", '"name": "vm-vc2-3"'),
    ("cluster 'V?2'", "Cluster: vc2"),
    ("cluster vc2 --state=off", "| vm-vc2-0 "),
    ("cluster vc2 --columns=name,ip", "| name     | ip "),
    ("cluster vc2 --sort=RAM", "| vm-vc2-0 "),
    ("node info vm-vc2-1", "vm-vc2-1"),
    ("start vc2 -n 1 -t 1:00:00 --dry-run", "Cost: up to 1 node hours"),
    ("start vc2 -n 1 -t 1:00:00 --wait", "computeset SET1 is running"),
    ("power on vm-vc2-1 --wait", "computeset SET2 is running"),
    ("power vc2 on --wait", "vc2: is on"),
    ("computeset", "Computeset: SET1"),
    ("computeset list --state=active", "Computeset: SET2"),
    ("computeset SET1", "Requested: 01:00"),
    ("extend SET1 +6h", "computeset SET1 runs for 07:00 in all"),
    ("computeset merge SET1 SET2", "computeset SET2 is a part of computeset SET1"),
    ("power off vc2 SET1 --yes --wait", "computeset SET1 is cancelled"),
    ("usage", "| alp1       | alpha   | ann  | vc2     | 2           |"),
    ("usage --by=day", "| 2           |"),
    ("usage --by=day -o csv", "day,allocation,project,user,cluster,computesets,charged_seconds,node_hours"),
    ("operation list", "start_set"),
    ("events", "vc2/vm-vc2-0  node.power"),
    ("token create --format=json", '"token": "nuc_'),
    ("image list -o json", "[]"),
    ("completion bash", "complete -F _comet comet"),
    ("active", "dev"),
)  # fmt: skip
"""What is done, and a part of what is printed."""

LED: tuple[tuple[str, str], ...] = (
    ("ls", "comet ll?"),
    ("list", "comet ll?"),
    ("get nodes", "comet ll or comet cluster CLUSTER?"),
    ("nodes", "comet cluster CLUSTER?"),
    ("describe vc2", "comet node info CLUSTER NODE?"),
    ("show vc2", "comet cluster CLUSTER or"),
    ("status", "comet cluster CLUSTER --status?"),
    ("watch", "comet ll --watch or"),
    ("stop vc2", "comet power shutdown CLUSTER NODES or comet terminate SET?"),
    ("reboot vc2", "comet power reboot?"),
    ("restart vc2", "comet power reboot CLUSTER?"),
    ("poweroff vc2", "comet power off CLUSTER?"),
    ("power cycle vc2", "comet power reset CLUSTER?"),
    ("power status vc2", "comet cluster CLUSTER --status?"),
    ("power off vc2 all", "comet power off vc2 'vm-vc2-[0-3]'"),
    ("power on vc2 all", "comet power on vc2 'vm-vc2-[0-3]'"),
    ("delete vc2", "comet terminate SET or comet iso delete IMAGE"),
    ("cancel 3", "comet terminate SET?"),
    ("kill 3", "comet terminate SET?"),
    ("logs vm-vc2-0", "comet console --serial CLUSTER NODE?"),
    ("vnc vm-vc2-0", "comet console CLUSTER NODE?"),
    ("login", "comet ssh NODE"),
    ("logout", "comet token revoke TOKEN?"),
    ("whoami", "comet active?"),
    ("squeue", "comet computeset --state=active?"),
    ("scancel 3", "comet terminate SET?"),
    ("scontrol show job 3", "comet computeset --state=active?"),
    ("sinfo", "comet cluster CLUSTER?"),
    ("sacct", "comet usage?"),
    ("sbatch job.sh", "comet launch LAUNCHER?"),
    ("virsh list", "comet ll?"),
    ("openstack server list", "comet ll?"),
    ("images", "comet iso list?"),
    ("mount debian.iso", "comet iso attach IMAGE CLUSTER?"),
    ("upload debian.iso", "comet iso upload?"),
    ("history", "comet operation list or comet events?"),
    ("node list", "comet cluster CLUSTER?"),
    ("start vc2 2", "comet start vc2 --count=2"),
    ("start vc2 --nodes=2", "Did you mean: --count?"),
    ("start vc2 -N 2", "Did you mean: --count?"),
    ("start vc2 --time=6h", "Did you mean: --walltime?"),
    ("start vc2 -A alp1", "Did you mean: --allocation?"),
    ("start vc2 -n 1 -t 6:00", "such as 06:00:00"),
    ("cluster vc2 --json", "Did you mean: --format=json?"),
    ("cluster vc2 --columns=nme", "choose from active_computeset, "),
    ("extend 1 6", "a number with m, h, d or w, such as 6h"),
    ("usage --by=week", "choose from 'day'"),
    ("cluster 'x*'", "no cluster of yours matches 'x*'. List them: comet ll"),
    ("terminate 99", "comet computeset"),
)  # fmt: skip
"""What is not done, and a part of the message, which names the right word."""


def test_a_command_typed_by_habit_is_done_or_leads_to_the_right_word(day: Site) -> None:
    assert len(DONE) + len(LED) > 50
    with day.at_work():
        found = day.python("ann", "-c", RUNNER, *(line for line, _ in (*DONE, *LED))).json()
    sets = re.findall(r"computeset (\d+) is running", "".join(out for _, out, _ in found))
    assert len(sets) == 2, found
    wrong = [
        (line, status, out[:400], err[:400])
        for (line, part), (status, out, err) in zip((*DONE, *LED), found, strict=True)
        if (status == 0) != ((line, part) in DONE)
        or re.sub("SET([12])", lambda one: sets[int(one[1]) - 1], part) not in (out if status == 0 else err)
    ]
    assert wrong == []
