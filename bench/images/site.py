"""The lab's site as the figures need it: image storage on all machines, images, guests, and their output."""

from __future__ import annotations

import io
import json
import re
import tarfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lab import broker
from lab.machines import image_storage, sample_cluster
from lab.machines.frontend import Frontend, put_linux_guest
from lab.machines.lab import Lab
from lab.machines.machine import LabMachine
from lab.machines.roster import Role
from lab.progress import Progress
from rocks.core.errors import HostError, ToolError
from rocks.core.process import run_checked

NAS, POOL, HOST_POOL = "nas-0-0", "tank", "vmpool"
GOLDEN, GOLDEN_MB = "golden", 64
GUEST = "vm-vc1-0"
VOLUME = f"{GUEST}-vol"

_PROGRAM_FOLDER = "/root/bench"
_CHECKOUT = Path(__file__).resolve().parents[2]
_GUEST = _CHECKOUT / ".state" / "guest"
_PYTHON_PATH = f"PYTHONPATH={_PROGRAM_FOLDER}:/opt/rocks/lib/python"
_STATE_SECONDS = 180.0
_POLL_SECONDS = 0.5
_LOCAL_POLL_SECONDS = 3.0
"""Each look is an SSH session, which takes its share of the emulated host that receives the copy meanwhile."""
_SHORT_SECONDS = 60.0
_NO_PULLS_SECONDS = "86400"
_COUNT = re.compile(r"^count ([0-9A-F]{8})\r?$", re.MULTILINE)


class Moved(NamedTuple):
    """Bytes on the NAS's network cable, including headers, messages and the traffic of the measurement itself."""

    sent: int
    received: int

    def since(self, before: Moved) -> Moved:
        """The bytes moved between two moments."""
        return Moved(self.sent - before.sent, self.received - before.received)


class ImageSite:
    """The lab with its frontend and image storage."""

    def __init__(self, lab: Lab, frontend: Frontend) -> None:
        self.lab = lab
        self.frontend = frontend
        self.nas = lab["nas"]
        self.host = lab["vmh1"]
        self.socat_rate: float | None = None
        """Bytes per second by ZFS's own programs and socat's TLS; set by the measurement."""

    def set_up(self, progress: Progress) -> None:
        """From the machines' clean state: daemons on all of them, a golden image of random data, nothing mapped."""
        self.lab.return_to_clean_state()
        sample_cluster.set_up(self.lab, self.frontend)
        image_storage.set_up(self.lab, self.frontend, progress)
        with progress.step("a golden image"):
            self._make_golden()
        for machine in self.lab.machines.values():
            self._deploy_programs(machine)
        self.done("set", "host", "storageattr", NAS, "frequency", _NO_PULLS_SECONDS)

    def leave(self) -> None:
        """Return the machines to their clean state and stop the broker."""
        broker.stop(image_storage.BROKER)
        self.lab.return_to_clean_state()

    def _make_golden(self) -> None:
        for name, guest in (("reading", self.lab.reading_guest), ("counting", self.lab.counting_guest)):
            self.nas.copy_in(guest, f"/root/{name}_guest.bin")
        self.host.copy_in(self.lab.model_writer, "/root/model_writer", "755")
        self.nas.shell(
            f"zfs create -s -V {GOLDEN_MB}M -o volblocksize=16k {POOL}/{GOLDEN}\n"
            "udevadm settle\n"
            f"dd if=/dev/urandom of=/dev/zvol/{POOL}/{GOLDEN} bs=1M count={GOLDEN_MB} conv=fsync status=none\n",
            _SHORT_SECONDS,
        )

    def _deploy_programs(self, machine: LabMachine) -> None:
        target = io.BytesIO()
        with tarfile.open(fileobj=target, mode="w") as archive:
            bench = _CHECKOUT / "bench"
            for path in (bench / "exec_watch.py", *sorted((bench / "images" / "programs").glob("*.py"))):
                archive.add(path, str(path.relative_to(_CHECKOUT)))
            for package in ("bench", "bench/images"):
                archive.addfile(tarfile.TarInfo(f"{package}/__init__.py"))
        machine.write_file(f"{_PROGRAM_FOLDER}.tar", target.getvalue())
        machine.shell(f"mkdir -p {_PROGRAM_FOLDER}\ntar -xf {_PROGRAM_FOLDER}.tar -C {_PROGRAM_FOLDER}\n")

    # --- the frontend

    def done(self, *arguments: str, deadline_seconds: float = _STATE_SECONDS) -> str:
        """Run a `rocks` command that must succeed; its output."""
        return self.frontend.done(*arguments, deadline_seconds=deadline_seconds)

    def add_clone(self, volume: str) -> None:
        """An image with the golden one's content; it uses no space."""
        self.done("add", "host", "storageimg", NAS, POOL, volume, f"origin={GOLDEN}")

    def remove_image(self, volume: str) -> None:
        """Destroy an image at once, so that its name and its space are free."""
        self.done("remove", "host", "storageimg", NAS, POOL, volume, "now=yes")

    def map(
        self,
        volume: str,
        size_gb: int = 1,
        *,
        host: LabMachine | None = None,
        deadline_seconds: float = _STATE_SECONDS,
    ) -> str:
        """Map an image to the host, by default the first one; returns the path of its device there."""
        name = (host or self.host).name
        arguments = (NAS, POOL, volume, name, str(size_gb), f"remotepool={HOST_POOL}")
        return self.done(
            "add", "host", "storagemap", *arguments, deadline_seconds=deadline_seconds
        ).splitlines()[-1]

    def unmap(self, volume: str) -> None:
        """Unmap an image, and wait until it is written back to the NAS."""
        self.done("remove", "host", "storagemap", NAS, volume)

    def state(self, volume: str) -> str:
        """The state of an image at the NAS; `absent` when there is no image of that name."""
        answer = self.done("list", "host", "storagemap", NAS, "json=yes")
        rows = [row for host in json.loads(answer or "[]") for row in host["storagemap"]]
        return next((str(row["state"]) for row in rows if row["zvol"] == volume), "absent")

    def wait_for_state(self, volume: str, state: str) -> None:
        """Wait until an image is in that state. HostError at the deadline."""
        wait_until(lambda: self.state(volume) == state, f"{volume} to be {state}")

    # --- guests

    def put_guest(self, boot_sector: str, volume: str = VOLUME) -> None:
        """A guest's boot sector, `reading` or `counting`, at the beginning of an unmapped image."""
        self.nas.shell(
            f"dd if=/root/{boot_sector}_guest.bin of=/dev/zvol/{POOL}/{volume} conv=notrunc,fsync status=none\n"
        )

    def put_linux_guest(self, first_mb: int, count_mb: int, volume: str = VOLUME) -> None:
        """The demo's Linux guest at the beginning of an unmapped image, and random data behind it, which it reads
        before it reports that it is ready."""
        draft, arguments = "/root/linux_guest.img", f"rocks_role=reader rocks_read={first_mb},{count_mb}"
        put_linux_guest(self.nas, _GUEST / "kernel", _GUEST / "images", GUEST, draft, arguments)
        device = f"/dev/zvol/{POOL}/{volume}"
        self.nas.shell(
            f"dd if={draft} of={device} bs=1M conv=sparse,notrunc,fsync status=none\n"
            f"dd if=/dev/urandom of={device} bs=1M seek={first_mb} count={count_mb} conv=notrunc,fsync status=none\n"
            f"rm {draft}\n",
            _SHORT_SECONDS,
        )

    def count(self, host: LabMachine) -> int:
        """The last count that the counting guest has reported on that host, 0 when there is none."""
        log = f"/var/log/libvirt/qemu/{GUEST}.console.log"
        counts = _COUNT.findall(host.run_any(["tail", "-c", "4000", log]).text)
        return int(counts[-1], 16) if counts else 0

    def table(self, host: LabMachine, volume: str = VOLUME) -> str:
        """The kind of a guest's device-mapper table on a host, `absent` when there is none."""
        answer = host.run_any(["dmsetup", "table", f"{volume}-snap"])
        return answer.text.split()[2] if answer.exit_status == 0 else "absent"

    def wait_until_local(self, host: LabMachine, volume: str = VOLUME) -> None:
        """Wait until the guest's device is the host's own volume."""
        wait_until(
            lambda: self.table(host, volume) == "linear",
            f"{volume} to be local",
            poll_seconds=_LOCAL_POLL_SECONDS,
        )

    # --- machines

    def run_own_program(
        self, machine: LabMachine, program: str, *arguments: str, deadline_seconds: float = 60
    ) -> str:
        """Run a program of `bench.images.programs` to its end; returns its output."""
        return machine.run(_command(program, arguments), deadline_seconds).text

    def start_own_program(self, machine: LabMachine, unit: str, program: str, *arguments: str) -> None:
        """Start a program of `bench.images.programs` as the unit; its output goes to a new /var/log/UNIT.log."""
        log = f"/var/log/{unit}.log"
        machine.run(["rm", "-f", log])
        machine.start_program(unit, _command(program, arguments))
        machine.wait_for(["cat", log], "watching", _SHORT_SECONDS)

    def logged(self, machine: LabMachine, since: float) -> list[tuple[float, str]]:
        """(time, line) of the daemon's log since that time on the machine's clock."""
        unit = image_storage.unit_of(machine)
        arguments = ["journalctl", "--no-pager", "-q", "-u", unit, "-o", "json", f"--since=@{since:.3f}"]
        lines = [json.loads(line) for line in machine.run(arguments).text.splitlines()]
        return [(int(line["__REALTIME_TIMESTAMP"]) / 1e6, str(line["MESSAGE"])) for line in lines]

    def clock(self, machine: LabMachine) -> float:
        """The machine's time, seconds since 1970."""
        return float(machine.run(["date", "+%s.%N"]).text)

    def drop_caches(self) -> None:
        """Drop the page caches of the NAS and of the hosts."""
        for machine in self.lab.machines.values():
            machine.shell("sync\necho 3 >/proc/sys/vm/drop_caches\n", _SHORT_SECONDS)

    def moved(self) -> Moved:
        """The bytes on the NAS's cable so far, as the switch counts them."""
        arguments = ["ip", "-json", "-statistics", "link", "show", "dev", f"{self.nas.name}-storage"]
        counted = json.loads(run_checked(arguments, deadline_seconds=10).text)[0]["stats64"]
        # the switch's port receives the bytes that the NAS sends
        return Moved(int(counted["rx"]["bytes"]), int(counted["tx"]["bytes"]))

    def hosts(self) -> list[LabMachine]:
        """The machines that run guests."""
        return [machine for machine in self.lab.machines.values() if machine.description.role is Role.HOST]


def wait_until(
    is_so: Callable[[], bool],
    what: str,
    deadline_seconds: float = _STATE_SECONDS,
    poll_seconds: float = _POLL_SECONDS,
) -> None:
    """Wait for a condition. HostError with its name at the deadline."""
    end_at = time.monotonic() + deadline_seconds
    while not is_so():
        if time.monotonic() > end_at:
            raise HostError(f"waited {deadline_seconds:g} s in vain for {what}")
        time.sleep(poll_seconds)


def last_report(machine: LabMachine, unit: str, key: str, deadline_seconds: float = 60) -> Any:
    """The value of `key` in the report of a unit's program. ToolError with the error that it reports instead."""
    text = machine.wait_for(["cat", f"/var/log/{unit}.log"], "}\n", deadline_seconds)
    end_at = time.monotonic() + deadline_seconds
    while True:
        for line in text.splitlines():
            report = json.loads(line) if line.startswith("{") else {}
            if "error" in report:
                raise ToolError(str(report["error"]))
            if key in report:
                return report
        if time.monotonic() > end_at:
            raise HostError(f"{unit} on {machine.name} has not reported {key} within {deadline_seconds:g} s")
        time.sleep(_POLL_SECONDS)
        text = machine.run(["cat", f"/var/log/{unit}.log"]).text


def _command(program: str, arguments: Sequence[str]) -> list[str]:
    return ["env", _PYTHON_PATH, "python3", "-m", f"bench.images.programs.{program}", *arguments]
