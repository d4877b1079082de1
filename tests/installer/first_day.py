"""The first day of the operator's guide: blank emulated machines, the frontend's medium, a network without an uplink.

    python -m tests.installer.first_day [FROM]

Each stage begins with the disks that the stage before has left in `.state/first-day`, and ends with all machines off.
Stages that are complete are not repeated; from the stage FROM on they are. The lines are read from the guide, and
typed by SSH on the frontend, one after another; one that fails ends the day. `docs/evidence/first-day.md` gets what was
printed.
"""

import json
import os
import re
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.build import parts
from lab.build.cache import Cache
from lab.machines.checkout import CACHE
from lab.machines.emulator import environment_of, qemu
from lab.progress import Progress
from rocks.core.process import Finished, LateError, run, run_checked, start_in_background
from tests.installer.blank_machine import DIST
from tests.installer.emulated_machine import EmulatedMachine
from tests.installer.medium_machine import PRIVATE, PUBLIC, make_stick
from tests.unit.docs.pages import CHECKOUT, operator_blocks

FOLDER = CHECKOUT / ".state/first-day"
PAGE = CHECKOUT / "docs/evidence/first-day.md"
FRONTEND, WORKSTATION, CLUSTER = "203.0.113.2", "203.0.113.1", "203.0.113.9"
_HOURS = 3600.0
_SMALLER = (("appliance=vm-container count=3", "appliance=vm-container count=1"),)
"""What is typed otherwise than on the page: emulated, one host takes as long as three on hardware."""


_WITHOUT_SVM = "max,svm=off,xlevel=0x8000001f"
"""QEMU's emulated SVM can stop a machine with two processors for ever.

Without `xlevel`, QEMU 7.2 ends CPUID's leaves early, and the C library of the installer aborts.
"""
_FIRMWARE = ("/usr/share/qemu", "/usr/share/seabios", "/usr/lib/ipxe/qemu")
"""Of this machine: the QEMU of the lab has none for adapters that boot from the network."""


class DayError(Exception):
    """The day ends here; the text says what did not happen."""


@dataclass
class DayMachine(EmulatedMachine):
    """A machine with its disks in the stage's folder, and a cable to each network in `cables`."""

    name: str
    macs: Sequence[str]
    disks_gb: Sequence[int]
    processors: int
    memory_mb: int
    boots_from_network: bool = True
    folder: Path = FOLDER

    @property
    def disks(self) -> list[Path]:
        return [self.folder / f"{self.name}.{number}.qcow2" for number in range(len(self.disks_gb))]

    def start(self, media: Sequence[Path] = ()) -> None:
        """Press its power button; media are a disc, then a stick."""
        # the lab's QEMU, whose emulated SVM runs the guests of a host with one processor
        tree = parts.qemu(Cache(CACHE), Progress())
        firmware = [part for folder in _FIRMWARE for part in ("-L", folder)]
        arguments = [*qemu(tree), *firmware, *self._arguments(media)]
        self._process = start_in_background(arguments, self._file("log"), environment=environment_of(tree))

    def wait_until_off(self, seconds: float = 900) -> None:
        deadline = time.monotonic() + seconds
        while self.is_running():
            if time.monotonic() > deadline:
                raise DayError(f"{self.name} does not go off; its console: {self.console[-2000:]}")
            time.sleep(1)

    def _arguments(self, media: Sequence[Path]) -> list[str]:
        devices = ("ide-cd,bus=ide.0", "usb-storage,removable=on")
        parts = [
            part
            for number, path in enumerate(media)
            for part in (
                *("-drive", f"file={path},if=none,id=m{number},format=raw,readonly=on"),
                *("-device", f"{devices[number]},drive=m{number},bootindex={number + 30}"),
            )
        ]
        parts += [
            part
            for number, disk in enumerate(self.disks)
            for part in (
                *("-drive", f"file={disk},if=none,id=d{number},format=qcow2,cache=unsafe,discard=unmap"),
                *("-device", f"virtio-blk-pci,drive=d{number},serial=DISK{number},bootindex={number + 10}"),
            )
        ]
        for number, mac in enumerate(self.macs):
            tap = f"{self.name.split('-')[0]}{number}"
            index = ",bootindex=0" if self.boots_from_network and number == 0 else ",romfile="
            parts += ["-netdev", f"tap,id=n{number},ifname={tap},script=no,downscript=no"]
            parts += ["-device", f"virtio-net-pci,netdev=n{number},mac={mac}{index}"]
        return [
            *("-machine", "q35", "-accel", "tcg,thread=multi"),
            *("-cpu", "max" if self.processors == 1 else _WITHOUT_SVM),
            *("-smp", str(self.processors), "-m", str(self.memory_mb), "-display", "none", "-vga", "std"),
            *("-nodefaults", "-device", "virtio-rng-pci", "-device", "qemu-xhci"),
            *(
                "-chardev",
                f"file,id=c,path={self._file('console')},append=on",
                "-serial",
                "chardev:c",
                *parts,
            ),
        ]

    def _file(self, kind: str) -> Path:
        return self.folder / f"{self.name}.{kind}"


HEAD = DayMachine("head", (PRIVATE, PUBLIC), (40,), 2, 2048, boots_from_network=False)
NAS = DayMachine("nas-0-0", ("52:54:00:00:02:00",), (20, 40), 2, 2048)
HOST = DayMachine("vm-container-0-0", ("52:54:00:00:03:00", "52:54:00:00:03:01"), (80,), 1, 6144)
MACHINES = (HEAD, NAS, HOST)


class Day:
    """One stage of the day: what is typed, and the page of it."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.typed = 0

    def note(self, text: str) -> None:
        self.lines.append(text)
        print(text, flush=True)

    def ask(self, command: str, seconds: float = 300, address: str = FRONTEND) -> Finished:
        """Run a command on the frontend by SSH; a look of this program, which is not on the page."""
        try:
            return run(_ssh(address, command), deadline_seconds=seconds)
        except LateError as error:  # a machine that is emulated may be slow for once
            return Finished((command,), 255, b"", str(error).encode())

    def wait_for(self, command: str, seconds: float, address: str = FRONTEND) -> None:
        """Repeat a look until it succeeds, on the frontend or another machine that the workstation reaches."""
        deadline = time.monotonic() + seconds
        while self.ask(command, address=address).exit_status != 0:
            for machine in MACHINES:
                if re.search("FAILED[:;] |Kernel panic", machine.console):
                    raise DayError(f"{machine.name}: {machine.console[-2000:]}")
            if time.monotonic() > deadline:
                raise DayError(f"{command}: not within {seconds:.0f} s; {HEAD.console[-2000:]}")
            time.sleep(10)

    def type(
        self,
        block: str,
        *then: Callable[[], None],
        seconds: float = 3 * _HOURS,
        statuses: Sequence[int] = (0,),
    ) -> None:
        """Type each line of a block on the frontend; `then` is done when the line is being executed."""
        for line in _smaller(block).splitlines():
            self.typed += 1
            began = time.monotonic()
            log = FOLDER / "work" / f"typed-{self.typed}"
            log.unlink(missing_ok=True)
            process = start_in_background(_ssh(FRONTEND, f"bash -lc {shlex.quote(line)}"), log)
            if then:
                time.sleep(30)
            for act in then:
                act()
            status = _wait(process, seconds)
            printed = log.read_text(errors="replace").rstrip()
            self.note(f"```\nhead# {line}\n{printed}\n```\n\n{time.monotonic() - began:.0f} s\n")
            if status not in statuses:
                raise DayError(f"{line}: ended with {status}\n{printed}")


def _smaller(block: str) -> str:
    for printed, typed in _SMALLER:
        block = block.replace(printed, typed)
    return block


def _ssh(address: str, command: str) -> list[str]:
    options = (
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
        "ConnectTimeout=30",
        "BatchMode=yes",
    )
    given = [part for option in (*options, "ServerAliveInterval=60") for part in ("-o", option)]
    return ["ssh", "-q", "-F", "/dev/null", "-i", str(FOLDER / "key"), *given, f"root@{address}", command]


def _wait(process: int, seconds: float) -> int:
    deadline = time.monotonic() + seconds
    while True:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(process, 15)
        time.sleep(0.5)


def frontend(day: Day) -> None:
    """From the power button to a frontend: the medium, and a stick with the answers of the guide."""
    (answers,) = re.findall(r"<<'END'\n(.*?)^END$", operator_blocks(2)[0], re.MULTILINE | re.DOTALL)
    key = (FOLDER / "key.pub").read_text().strip()
    site = FOLDER / "work/site"
    site.mkdir()
    (site / "answers").write_text(
        re.sub(r"^install_root_key = .*$", f"install_root_key = {key}", answers, flags=re.M)
    )
    (site / "attributes").write_text("boot_service = yes\n")
    (iso,) = DIST.glob("rocks-frontend-*.iso")
    day.note(f"The medium `{iso.name}` has {iso.stat().st_size // 1000**2} MB.\n")
    began = time.monotonic()
    HEAD.start([iso, make_stick(FOLDER / "work/site.img", site)])
    day.wait_for("true", 2 * _HOURS)
    day.note(f"SSH answered {time.monotonic() - began:.0f} s after the power button.\n")
    day.wait_for("test -e /var/lib/rocks/installed-version", 3 * _HOURS)
    day.note(f"The machine was a frontend {time.monotonic() - began:.0f} s after the power button.\n")
    printed = day.ask("journalctl -u rocks-frontend-install -t first-boot -o cat").text
    day.note(f"```\n{printed.strip()}\n```\n")


def hosts(day: Day) -> None:
    """A NAS and a host of virtual machines, installed from the frontend."""
    nas, containers, install = operator_blocks(5)
    day.type(nas, NAS.start)
    day.type(containers, HOST.start)
    day.type(install, seconds=5 * _HOURS)
    (check,) = operator_blocks(6)
    day.type(check, statuses=(0, 1))
    checked = json.loads(day.ask("rocks check site json=yes").text)
    wrong = [line["subject"] for line in checked if line["site"][0]["result"] != "ok"]
    if wrong not in ([], ["clock"]):
        raise DayError(f"rocks check site: not ok are {', '.join(wrong)}, and the page names the clock only")


def cluster(day: Day) -> None:
    """Image, cluster, start, SSH in it; one disk becomes local; the cluster stops, and all disks are written back."""
    (added,) = operator_blocks(8)
    day.type(added)
    start, *others = operator_blocks(9)
    day.type(start)
    began = time.monotonic()
    day.wait_for("hostname", 3 * _HOURS, CLUSTER)  # from the workstation, whose key the cluster has
    day.note(
        f"`ssh root@{CLUSTER}` answered {time.monotonic() - began:.0f} s after the last line was typed.\n"
    )
    day.wait_for("ssh -o StrictHostKeyChecking=no vm-vc1-0 hostname", 1 * _HOURS, CLUSTER)
    day.note(f"`ssh vm-vc1-0` from there answered {time.monotonic() - began:.0f} s after that line.\n")
    day.wait_for("rocks list host storagemap nas-0-0 | grep -q ' mapped '", 3 * _HOURS)  # no longer NAS->VM
    day.note(f"The first disk was local {time.monotonic() - began:.0f} s after that line.\n")
    for block in others:
        if "console" not in block:
            day.type(block)
    began = time.monotonic()
    rows = 'rows=$(rocks list host storagemap nas-0-0 output-header=no) && [ $(echo "$rows" | wc -l) = 3 ]'
    day.wait_for(f'{rows} && [ "$(echo "$rows" | grep -c " unmapped ")" = 3 ]', 1 * _HOURS)
    day.note(f"All disks were written back {time.monotonic() - began:.0f} s after the last line was typed.\n")


STAGES: dict[str, Callable[[Day], None]] = {"frontend": frontend, "hosts": hosts, "cluster": cluster}
_USED = {"frontend": (HEAD,), "hosts": (HEAD,), "cluster": MACHINES}
"""The machines that are on when a stage begins; the first stage has none yet."""


def _make_disks(stage: str, before: str | None) -> None:
    """Those of the stage before as they are, under new layers; blank ones in the first stage."""
    for machine in MACHINES:
        machine.folder = FOLDER / "work"
        for disk, gigabytes in zip(machine.disks, machine.disks_gb, strict=True):
            base = ("-b", f"../{before}/{disk.name}", "-F", "qcow2") if before else ()
            size = () if before else (f"{gigabytes}G",)
            run_checked(
                ["qemu-img", "create", "-q", "-f", "qcow2", *base, str(disk), *size], deadline_seconds=60
            )


@contextmanager
def _cables() -> Iterator[None]:
    """Two networks of this program's own; its end of the public one is the operator's workstation."""
    steps = [
        *(("link", "add", bridge, "type", "bridge") for bridge in ("private", "public")),
        *(("link", "set", bridge, "up") for bridge in ("private", "public")),
        ("address", "add", f"{WORKSTATION}/24", "dev", "public"),
    ]
    for machine in MACHINES:
        for number, _ in enumerate(machine.macs):
            tap = f"{machine.name.split('-')[0]}{number}"
            steps += [
                ("tuntap", "add", "dev", tap, "mode", "tap"),
                ("link", "set", tap, "master", "public" if number else "private", "up"),
            ]
    for step in steps:
        run_checked(["ip", *step], deadline_seconds=10)
    try:
        yield
    finally:
        for machine in MACHINES:
            machine.cut_power()


def _begin(day: Day, stage: str) -> None:
    """Switch on what the stage before has left, and wait until it answers."""
    if stage == "frontend":
        return
    used = _USED[stage]
    for machine in used:
        machine.start()
    day.wait_for("true", 1800)
    day.ask("systemctl is-system-running --wait", 1800)  # SSH answers before the broker
    others = " ".join(machine.name for machine in used[1:])
    if others:
        day.wait_for(f"rocks run host {others} command=true", 3600)


def _end(day: Day) -> None:
    for machine in reversed(MACHINES):
        if machine.is_running():
            command = "systemctl poweroff"
            day.ask(command if machine is HEAD else f"rocks run host {machine.name} command='{command}'")
            machine.wait_until_off()


def _failed(stage: str) -> Path:
    """The transcript of a stage that did not come to its end, to be repeated."""
    return FOLDER / f"{stage}.failed.md"


def _write_page() -> None:
    commit = run_checked(
        ["git", "-C", str(CHECKOUT), "log", "-1", "--format=%h"], deadline_seconds=10
    ).text.strip()
    parts = [
        "# The first day\n",
        f"Written by `make lab-first-day` at commit {commit}: blank emulated machines with nothing but "
        "the frontend's medium and a network without an uplink. The lines are those of the [operator's guide]"
        "(../guide/operator.md), typed in its order, without the console and the backup"
        + "".join(f"; `{typed}` in place of `{printed}`" for printed, typed in _SMALLER)
        + ".\n",
    ]
    for stage in STAGES:
        found = [file for file in (FOLDER / stage / "transcript.md", _failed(stage)) if file.exists()]
        text = found[0].read_text() if found else "Not run.\n"
        parts.append(f"## {stage.capitalize()}\n\n{text}")
    PAGE.write_text("\n".join(parts))


def main(arguments: Sequence[str]) -> int:
    if len(arguments) > 1 or not set(arguments) <= set(STAGES):
        print(f"Error: FROM is one of {', '.join(STAGES)}", file=sys.stderr)
        return 1
    FOLDER.mkdir(parents=True, exist_ok=True)
    if not (FOLDER / "key").exists():
        run_checked(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(FOLDER / "key")], deadline_seconds=30
        )
    names = list(STAGES)
    for stage in names[names.index(arguments[0]) if arguments else len(names) :]:
        shutil.rmtree(FOLDER / stage, ignore_errors=True)
    before = None
    with _cables():
        for stage, act in STAGES.items():
            if not (FOLDER / stage).exists():
                day = Day()
                shutil.rmtree(FOLDER / "work", ignore_errors=True)
                (FOLDER / "work").mkdir()
                began = time.monotonic()
                try:
                    _make_disks(stage, before)
                    _begin(day, stage)
                    act(day)
                    _end(day)
                except DayError as error:
                    day.note(f"The stage ended here: {str(error).splitlines()[0]}\n")
                    _failed(stage).write_text("\n".join(day.lines))
                    _write_page()
                    print(f"Error: the stage {stage}: {error}", file=sys.stderr)
                    return 1
                seconds = time.monotonic() - began
                day.note(
                    f"{day.typed} lines were typed, in {seconds:.0f} s with the machines' start and end.\n"
                )
                (FOLDER / "work/transcript.md").write_text("\n".join(day.lines))
                (FOLDER / "work").rename(FOLDER / stage)
                _write_page()
            before = stage
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
