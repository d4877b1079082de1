"""A volume that is moved below a running writer by our own switches.

The writer keeps what the disk must hold in memory and compares every read (`lab/instruments/model_writer.c`).
"""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

from lab.machines.machine import LabMachine

SUBJECTS = (
    "src/rocks/storage/device_mapper",
    "tests/lab/cut_over_sequence.py",
    "lab/instruments/model_writer.c",
)

_HERE = Path(__file__).parent
_SOURCES = _HERE.parents[1] / "src"
_PLACE = "/root/cut-over"
LOG = "/var/log/writer.log"
_SIZE_MB = 32

PREPARE = f"""
pool=vmpool
zfs create -s -V {_SIZE_MB}M -o volblocksize=16k $pool/remote
zfs create -s -V {_SIZE_MB + 8}M -o volblocksize=8k $pool/cow
udevadm settle
dd if=/dev/urandom of=/dev/zvol/$pool/remote bs=1M count={_SIZE_MB} conv=fsync status=none
zfs snapshot $pool/remote@base
"""
COPY = "zfs send -cL vmpool/remote@base | zfs receive -u vmpool/local; udevadm settle; sleep 1\n"


def copy_sources(machine: LabMachine) -> None:
    """Our modules and the program, onto the machine."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for path in sorted((_SOURCES / "rocks").rglob("*.py")):
            archive.add(path, str(path.relative_to(_SOURCES)))
    machine.write_file(f"{_PLACE}.tar", target.getvalue())
    machine.shell(f"mkdir -p {_PLACE}\ntar -xf {_PLACE}.tar -C {_PLACE}\n", 60)
    machine.write_file(f"{_PLACE}/steps.py", (_HERE / "cut_over_sequence.py").read_bytes())


def do(machine: LabMachine, step: str) -> list[dict[str, Any]]:
    """Run one step; returns its reports."""
    reported = machine.run(["env", f"PYTHONPATH={_PLACE}", "python3", f"{_PLACE}/steps.py", step], 420)
    return [json.loads(line) for line in reported.text.splitlines()]


def cut_over(machine: LabMachine) -> tuple[dict[str, dict[str, Any]], dict[str, float]]:
    """A cut-over under a writer: event → the writer's last report; step → its stall in seconds."""
    machine.shell(PREPARE, 120)
    do(machine, "begin")
    machine.start_program("writer", ["/root/model_writer", "/dev/mapper/disk", "/dev/zvol/vmpool/local"])
    machine.wait_for(["cat", LOG], '"loaded"', 60)
    machine.shell(COPY, 180)
    stalls = [line for step in ("move", "merge", "end") for line in do(machine, step)]
    machine.run(["systemctl", "stop", "writer"], 60)
    lines = machine.read_file(LOG).decode().splitlines()
    reports = [json.loads(line) for line in lines if line.startswith("{")]
    reported = {str(report["event"]) + str(report.get("device", "")): report for report in reports}
    return reported, {line["step"]: line["stall"] for line in stalls}
