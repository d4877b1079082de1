"""The evidence of a failed test: logs and states of every machine, in one folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from lab.machines.lab import together
from lab.machines.machine import LabMachine
from rocks.core.errors import RocksError

_DEADLINE_SECONDS = 60.0
_LOGS = ("serial.log", "serial.log.before", "qemu.log")

QUESTIONS = {
    "journal": "journalctl --no-pager --boot --output=short-monotonic",
    "kernel": "dmesg",
    "processes": "ps -e -o pid,ppid,stat,etimes,wchan:20,args",
    "zfs": "zpool status -v; zfs list -t all -o name,used,refer,volsize,guid,origin,receive_resume_token",
    "lio": "cd /sys/kernel/config/target && find . -type f -perm /444 -exec sh -c 'echo $1: $(cat $1)' - {} \\;",
    "iscsi": "iscsiadm -m session -P 3; iscsiadm -m node",
    "device-mapper": "dmsetup info; dmsetup table; dmsetup status",
    "libvirt": "virsh list --all; for d in $(virsh list --all --name); do virsh dumpxml $d; virsh domblklist $d; done",
    "network": "ip -details -statistics link; ip address; tc qdisc; ip neighbour",
    "block-devices": "lsblk -o NAME,SIZE,RO,TYPE,MOUNTPOINT,SERIAL; lsscsi",
    "leases": "ls -l /var/lib/rocks/leases && tail -n +1 /var/lib/rocks/leases/*",
    "guests": "tail -c 20000 /var/log/libvirt/qemu/*.log",
}
"""File name → the program that runs on each machine; the file has its error where the machine lacks it."""


def collect(machines: Iterable[LabMachine], logs: Iterable[Path], folder: Path) -> None:
    """Fill the folder, which is made anew. A machine that does not answer leaves its serial line and the reason."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for log in logs:
        if log.exists():
            shutil.copyfile(log, folder / log.name)
    together(lambda machine: _collect_one(machine, folder / machine.name), machines)


def _collect_one(machine: LabMachine, folder: Path) -> None:
    folder.mkdir()
    for name in _LOGS:
        if (machine.folder / name).exists():
            shutil.copyfile(machine.folder / name, folder / name)
    for name, script in QUESTIONS.items():
        try:
            answer = machine.run_any(["sh", "-c", script], _DEADLINE_SECONDS)
        except RocksError as error:
            (folder / "silent").write_text(f"{error}\n", encoding="utf-8")
            return
        (folder / name).write_text(answer.text + answer.error_text + "\n", encoding="utf-8")
