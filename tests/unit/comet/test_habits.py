"""Fifty commands as owners type them by habit: each is done, or answered with the right word."""

import shlex

import pytest

from tests.unit.comet.conftest import Comet

DONE = (
    ("cluster vc2 -o json", '"name": "vm-vc2-0"'),
    ("cluster vc2 --output json", '"name": "vm-vc2-0"'),
    ("-o json cluster vc2", '"name": "vm-vc2-0"'),
    ("cluster 'v*'", "vm-vc2-3"),
    ("ll 'V?2'", "vm-vc2-[0-3]"),
    ("cluster vc2 --state=off", "vm-vc2-0"),
    ("cluster vc2 --columns=name,ip", "| name "),
    ("cluster vc2 --sort name", "vm-vc2-3"),
    ("power on vm-vc2-0", "computeset 1 is accepted"),
    ("power vm-vc2-0 on", "computeset 1 is accepted"),
    ("power vc2 on", "vc2: is being switched on"),
    ("power on vc2", "vc2: is being switched on"),
    ("power on", "vc2: is being switched on"),
    ("start --count=2", "computeset 1 is accepted"),
    ("start vc2 -n 1 -t 1:00:00", "computeset 1 is accepted"),
    ("start vc2 -n 1 -t 1-12:00:00", "computeset 1 is accepted"),
    ("start -walltime=30m vc2 -n 1", "computeset 1 is accepted"),
    ("-walltime=30m start vc2 -n 1", "computeset 1 is accepted"),
    ("-t 30m -n 1 start vc2", "computeset 1 is accepted"),
    ("start vm-vc2-0", "computeset 1 is accepted"),
    ("start vc2 -n 1 --dry-run", "Cost: up to 48 node hours"),
    ("node info vm-vc2-0", "vm-vc2-0"),
    ("image list", "debian.iso"),
    ("computeset list --state=all", ""),
    ("token create --format=json", '"token": "nuc_'),
    ("help drive", "comet iso attach"),
    ("--help", "comet help WORDS"),
)
MEANT = (
    ("ls", "comet ll?"),
    ("list", "comet ll?"),
    ("get nodes", "comet ll or comet cluster CLUSTER?"),
    ("describe vc2", "comet cluster CLUSTER or comet node info CLUSTER NODE?"),
    ("show vc2", "comet cluster CLUSTER or comet node info CLUSTER NODE?"),
    ("stop vc2", "comet power shutdown CLUSTER NODES or comet terminate SET?"),
    ("delete vc2", "clusters are removed on their page?"),
    ("cancel 3", "comet terminate SET?"),
    ("scancel 3", "comet terminate SET?"),
    ("squeue", "comet computeset --state=active?"),
    ("sinfo", "comet cluster CLUSTER?"),
    ("sbatch job.sh", "comet start CLUSTER --count=N or comet launch LAUNCHER?"),
    ("logs vm-vc2-0", "comet console --serial CLUSTER NODE?"),
    ("watch", "comet ll --watch or comet cluster CLUSTER --watch?"),
    ("status", "comet cluster CLUSTER --status?"),
    ("reboot vc2", "comet power reboot?"),
    ("power cycle vc2", "comet power reset CLUSTER?"),
    ("power off vc2 all", "comet power off vc2 'vm-vc2-[0-3]'"),
    ("start vc2 2", "comet start vc2 --count=2"),
    ("start vc2 -N 1", "--count?"),
    ("start vc2 -n 1 --time=1h", "--walltime?"),
    ("start vc2 -n 1 -t 6:00", "walltime '6:00' is not understood"),
    ("cluster vc2 --columns=nme", "--columns=nme: choose from active_computeset, "),
    ("cluster vc2 -A alp1", "-A. See: comet cluster --help"),
    ("login", "comet ssh NODE"),
)


@pytest.mark.parametrize(("typed", "part"), DONE)
def test_a_line_is_understood(comet: Comet, typed: str, part: str) -> None:
    done = comet(*shlex.split(typed))
    assert done.status == 0 and part in done.out, done


@pytest.mark.parametrize(("typed", "part"), MEANT)
def test_a_word_of_another_program_leads_to_the_command(comet: Comet, typed: str, part: str) -> None:
    refused = comet(*shlex.split(typed))
    assert refused.status == 2 and part in refused.err, refused
