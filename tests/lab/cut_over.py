"""A volume under a device-mapper snapshot that is moved below a running writer, in the right order and in a wrong one.

All of it happens on one host, on volumes of its own pool: what counts is the order of the steps, not where blocks lie.
"""

import json
from typing import Any

from lab.machines.machine import LabMachine

SIZE_MB = 32
_LOST_CHUNKS = 200
_WRITER = "/root/model_writer"
_LOG = "/var/log/writer.log"
_NAMES = """
pool=vmpool
remote=/dev/zvol/$pool/remote local=/dev/zvol/$pool/local cow=/dev/zvol/$pool/cow
"""

_PREPARE = (
    _NAMES
    + f"""
zfs create -s -V {SIZE_MB}M -o volblocksize=16k $pool/remote
zfs create -s -V {SIZE_MB + 8}M -o volblocksize=8k $pool/cow
udevadm settle
dd if=/dev/urandom of=$remote bs=1M count={SIZE_MB} conv=fsync status=none
zfs snapshot $pool/remote@base
size=$(blockdev --getsz $remote)
dmsetup create disk-origin --table "0 $size linear $remote 0"
dmsetup create disk --table "0 $size snapshot /dev/mapper/disk-origin $cow PO 16"
"""
)

_COPY = _NAMES + "zfs send -cL $pool/remote@base | zfs receive -u $pool/local; udevadm settle; sleep 2\n"

# The snapshot's origin is moved while its exceptions are in use, and only then is the merge begun, over the same
# origin and the same exceptions.
_RIGHT = (
    _NAMES
    + """
size=$(blockdev --getsz $local)
dmsetup load disk-origin --table "0 $size linear $local 0"
dmsetup suspend disk-origin; dmsetup resume disk-origin
dmsetup load disk --table "0 $size snapshot-merge /dev/mapper/disk-origin $cow PO 16"
sleep 1
dmsetup suspend disk; dmsetup resume disk
"""
)

# The merge target reads the exceptions when it is loaded: those that the writer makes after that are lost. There must
# be enough of them, however slow the machine is, and the writer must not have written the lost blocks again in the end.
_WRONG = (
    _NAMES
    + f"""
size=$(blockdev --getsz $local)
sectors() {{ dmsetup status disk | sed 's,.* \\([0-9]*\\)/.*,\\1,'; }}
dmsetup load disk --table "0 $size snapshot-merge $local $cow P 16"
enough=$(( $(sectors) + {_LOST_CHUNKS} * 16 ))
for i in $(seq 600); do
  [ "$(sectors)" -lt $enough ] || break
  sleep 0.1
done
dmsetup suspend disk; dmsetup resume disk
systemctl kill --signal=STOP writer
"""
)

_FINISH = (
    _NAMES
    + """
size=$(blockdev --getsz $local)
for i in $(seq 600); do
  set -- $(dmsetup status disk)
  [ "${4%/*}" != "$5" ] || break
  sleep 0.2
done
dmsetup load disk --table "0 $size linear $local 0"
dmsetup suspend disk; dmsetup resume disk
sleep 1
"""
)


def run_cut_over(machine: LabMachine, in_right_order: bool) -> dict[str, dict[str, Any]]:
    """A cut-over under a writer; returns event → the writer's last report."""
    machine.shell(_PREPARE, 120)
    machine.start_program("writer", [_WRITER, "/dev/mapper/disk", "/dev/zvol/vmpool/local"])
    machine.wait_for(["cat", _LOG], '"loaded"', 60)
    # a slow copy would leave no place that the writer has not been at: nothing that the wrong order could lose
    _signal(machine, "STOP")
    machine.shell(_COPY, 180)
    _signal(machine, "CONT")
    machine.shell(_RIGHT if in_right_order else _WRONG, 120)
    machine.shell(_FINISH, 240)
    _signal(machine, "CONT")
    machine.run(["systemctl", "stop", "writer"], 60)
    lines = machine.read_file(_LOG).decode().splitlines()
    reports = [json.loads(line) for line in lines if line.startswith("{")]
    return {str(report["event"]) + str(report.get("device", "")): report for report in reports}


def _signal(machine: LabMachine, name: str) -> None:
    machine.run(["systemctl", "kill", f"--signal={name}", "writer"])
