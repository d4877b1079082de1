"""The owners' remote control under systemd: an installed frontend boots, and an owner uses its unit from there.

The only physical host is silent: what is proven is that the unit starts, answers, runs commands outside of its own
restrictions, is started again, and writes to the journal.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from lab.namespace import CHECKOUT
from tests.packages.booted_frontend import ADDRESS, SETTINGS, BootedRoot, make_booting_root
from tests.packages.frontend_machine import Machine
from tests.packages.test_frontend import start_database

_RECORDS = f"""\
set -ex
rocks add network public subnet=203.0.113.0 netmask=255.255.255.0
rocks add host vmc-0-0 'membership=VM Container' rack=0 rank=0 cpus=4
rocks add host interface vmc-0-0 eth0 ip=10.9.9.3 subnet=private mac=52:54:00:00:00:03
rocks set host attr vmc-0-0 vm_image_directory /var/lib/images
rocks set attr vm_mac_base_addr 76:77:6e:80:00:00
rocks set attr vm_mac_base_addr_mask ff:ff:ff:c0:00:00
rocks set attr Kickstart_PublicGateway 203.0.113.1
rocks add cluster 203.0.113.10 1 fe-name=one container-hosts=vmc-0-0 fe-container=vmc-0-0 cluster-naming=yes
python3 /opt/rocks/share/rocks/airboss create keys key=/root/one.key type=ed25519 >/root/one.pub
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
    """The records are made in the root without systemd, which is quicker; the units run in the machine."""
    for program in ("qemu-system-x86_64", "mke2fs", "debugfs"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed: tools/setup installer")
    machine = Machine(make_booting_root(tmp_path / "machine"), medium)
    try:
        (machine.folder / "root/site").write_text(SETTINGS)
        machine.install()
        start_database(machine.root)
        machine.install()
        machine.root.done("sh", "-c", _RECORDS)
        stop = "kill $(cat /var/opt/rocks/mysql/data/mariadbd.pid); while pidof mariadbd; do sleep 0.2; done"
        machine.root.done("sh", "-c", stop)
    finally:
        machine.root.close()
    (iso,) = (CHECKOUT / "dist").glob("rocks-frontend-*.iso")
    made = BootedRoot(machine.folder, tmp_path, iso)
    machine.close()
    return made


def _part(printed: str, name: str) -> str:
    """What was printed below a heading."""
    found = re.search(rf"^== {re.escape(name)}\n(.*?)^== ", printed, re.MULTILINE | re.DOTALL)
    assert found is not None, printed
    return found.group(1)


def test_the_owners_service_runs_as_a_unit(booted: BootedRoot) -> None:
    printed = booted.boot(_COMMANDS)
    listed = _part(printed, "airboss list host macs")
    assert "vm-one-0" in listed and "status 0" in listed, printed
    assert _part(printed, "airboss set host cdrom vm-one-0 image=rescue boot=last") == "status 0\n", printed
    power = _part(printed, "airboss set host power vm-one-0 action=off")
    assert "command failed: vm-one-0" in power or "begun, and not done yet: vm-one-0" in power, printed

    process = _part(printed, "process")
    assert re.search(r"^NoNewPrivs:\t1$", process, re.MULTILINE), printed
    assert re.search(r"^Seccomp:\t2$", process, re.MULTILINE), printed
    assert process.count("Read-only file system") == 2, (
        "it writes below /etc/rocks, and neither to /etc nor to /usr"
    )
    assert "cannot access" in process, "it has no disk"

    again = _part(printed, "again")
    assert "ActiveState=active" in again and "NRestarts=1" in again, printed
    stopped = _part(printed, "stopped")
    assert "ActiveState=inactive" in stopped and "Result=success" in stopped, printed
    assert "rescue" in stopped, "the image in the drive"
    requests = _part(printed, "journal of requests")
    assert "cluster='one'" in requests and "what='cdrom rescue boot=last vm-one-0'" in requests, printed
    (logged,) = [line for line in requests.splitlines() if "exit status" in line]
    assert "connect to bus" not in logged and "vm-one-0" in logged, "the command was run outside of the unit"
    audit = _part(printed, "journal of the audit log")
    for field in (
        "ROCKS_AUDIT_NUMBER",
        "ROCKS_AUDIT_DIGEST",
        "ROCKS_PERSON=owner of one",
        "ROCKS_ORIGIN",
        "ROCKS_ACTION",
    ):
        assert field in audit, printed
    assert _part(printed, "failed units").strip() == "", printed
