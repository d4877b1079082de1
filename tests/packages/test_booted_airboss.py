"""The owners' remote control under systemd: an installed frontend boots, and an owner uses its unit from there.

The only physical host is silent: what is proven is that the unit starts, answers, runs commands outside of its own
restrictions, is started again, and writes to the journal.
"""

import re
from pathlib import Path

import pytest

from tests.packages.booted_frontend import (
    ADDRESS,
    CLUSTER_RECORDS,
    BootedRoot,
    boot_machine,
    make_frontend,
    part,
)

_RECORDS = f"""\
{CLUSTER_RECORDS}python3 /opt/rocks/share/rocks/airboss create keys key=/root/one.key type=ed25519 >/root/one.pub
rocks add host key one key=/root/one.pub
rocks add host certificate head
{{ head -c 32769 /dev/zero; printf CD001; head -c 4096 /dev/zero; }} >/root/cd.iso
rocks add image rescue file=/root/cd.iso
rocks set host attr one airboss_images rescue
printf 'server = {ADDRESS}\\nname = head\\ncluster = one\\nkey = /root/one.key\\n' >/etc/rocks/airboss.conf
echo authority = /etc/rocks/pki/authority/ca.crt >>/etc/rocks/airboss.conf
"""

_COMMANDS = """\
airboss() { echo "== airboss $*"; python3 /opt/rocks/share/rocks/airboss "$@" 2>&1; echo "status $?"; }
until_it_listens() { for n in $(seq 300); do ss -ltn | grep -q :8677 && return; sleep 1; done; }
echo "== start"
systemctl enable --now rocks-airboss.service 2>&1
until_it_listens
ss -ltnp | grep :8677
airboss list host macs
airboss set host cdrom vm-one-0 image=rescue boot=last
airboss set host power vm-one-0 action=off
for n in $(seq 600); do journalctl -q -o cat -t rocks-airboss | grep -q 'exit status' && break; sleep 1; done
echo "== process"
pid=$(systemctl show -p MainPID --value rocks-airboss.service)
grep -E '^(Uid|NoNewPrivs|Seccomp|CapEff):' /proc/$pid/status
nsenter -t $pid -m -- touch /usr/written /etc/written /etc/rocks/written 2>&1
ls -d /proc/$pid/root/dev/vda 2>&1
kill -9 $pid
sleep 15
until_it_listens
echo "== again"
systemctl show -p ActiveState,NRestarts,Result rocks-airboss.service | paste -s
airboss list host macs
echo "== stopped"
systemctl stop rocks-airboss.service
systemctl show -p ActiveState,Result rocks-airboss.service | paste -s
rocks list host attr vm-one-0
echo "== journal of requests"
journalctl -q --no-pager -o cat -t rocks-airboss
echo "== journal of the audit log"
journalctl -q --no-pager -o verbose -t rocksaudit ROCKS_SOURCE=control
echo "== journal of the unit"
journalctl -q --no-pager -o cat -u rocks-airboss.service
echo "== failed units"
systemctl --failed --no-legend --plain
echo "== end"
"""


@pytest.fixture
def booted(medium: Path, tmp_path: Path) -> BootedRoot:
    """The records are made in the root without systemd; the units run in the machine."""
    return boot_machine(medium, tmp_path, lambda machine: make_frontend(machine, _RECORDS))


def test_the_owners_service_runs_as_a_unit(booted: BootedRoot) -> None:
    printed = booted.boot(_COMMANDS)
    listed = part(printed, "airboss list host macs")
    assert "vm-one-0" in listed and "status 0" in listed, printed
    assert part(printed, "airboss set host cdrom vm-one-0 image=rescue boot=last") == "status 0\n", printed
    power = part(printed, "airboss set host power vm-one-0 action=off")
    assert "command failed: vm-one-0" in power or "begun, and not done yet: vm-one-0" in power, printed

    process = part(printed, "process")
    assert re.search(r"^NoNewPrivs:\t1$", process, re.MULTILINE), printed
    assert re.search(r"^Seccomp:\t2$", process, re.MULTILINE), printed
    assert process.count("Read-only file system") == 2, (
        "it writes below /etc/rocks, and neither to /etc nor to /usr"
    )
    assert "cannot access" in process, "it has no disk"

    again = part(printed, "again")
    assert "ActiveState=active" in again and "NRestarts=1" in again, printed
    stopped = part(printed, "stopped")
    assert "ActiveState=inactive" in stopped and "Result=success" in stopped, printed
    assert "rescue" in stopped, "the image in the drive"
    requests = part(printed, "journal of requests")
    assert "cluster='one'" in requests and "what='cdrom rescue boot=last vm-one-0'" in requests, printed
    (logged,) = [line for line in requests.splitlines() if "exit status" in line]
    assert "connect to bus" not in logged and "vm-one-0" in logged, "the command was run outside of the unit"
    audit = part(printed, "journal of the audit log")
    for field in (
        "ROCKS_AUDIT_NUMBER",
        "ROCKS_AUDIT_DIGEST",
        "ROCKS_PERSON=owner of one",
        "ROCKS_ORIGIN",
        "ROCKS_ACTION",
    ):
        assert field in audit, printed
    assert part(printed, "failed units").strip() == "", printed
