"""Blank emulated machines that start from the frontend's medium; their console is a serial line."""

import contextlib
import re
import shutil
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rocks.core.process import run_checked, start_in_background
from tests.installer.emulated_machine import FIRMWARE, EmulatedMachine

PRIVATE, PUBLIC = "52:54:00:00:01:00", "52:54:00:00:01:01"
_SECONDS = 5400.0


@dataclass
class MediumMachine(EmulatedMachine):
    """One that starts again goes off instead. `firmware_kind` is bios, uefi or secure: UEFI with Secure Boot."""

    folder: Path
    name: str
    disks: list[Path]
    firmware_kind: str = "bios"
    _seen: int = field(default=0, init=False)

    def start(self, drives: Sequence[Path] = (), sticks: Sequence[Path] = ()) -> None:
        """Switch it on with these media; it starts from the first that can, then from its disks."""
        self._file("console").unlink(missing_ok=True)
        self._seen = 0
        self._process = start_in_background(self._arguments(drives, sticks), self._file("log"))

    def wait_for(self, pattern: str, seconds: float = _SECONDS) -> str:
        """Wait until the console shows the expression behind what was waited for before; returns its text.

        AssertionError, with the end of the console, when the machine goes off or the installer fails.
        """
        deadline = time.monotonic() + seconds
        while True:
            is_on = self.is_running()
            text = self.console
            if found := re.search(pattern, text[self._seen :]):
                self._seen += found.end()
                return found.group(0)
            failed = re.search(r"FAILED[:;] [^\r\n]*[\r\n]", text[self._seen :])
            evidence = f"waiting for {pattern}: {self._file('log').read_text()}\n{text[-3000:]}"
            assert not failed, evidence
            assert is_on and time.monotonic() < deadline, evidence
            time.sleep(0.5)

    def type(self, text: str) -> None:
        """Type it at the console."""
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(self._file("line")))
            line.sendall(text.encode())
            time.sleep(0.3)  # it is read before the line is closed

    def answer(self, question: str, text: str = "") -> None:
        """Type a line when the question is there."""
        self.wait_for(question)
        self.type(f"{text}\r")

    def choose(self, key: str) -> None:
        """Choose an entry of the medium's menu by its key."""
        self.wait_for("Install a frontend")
        self.type(key)

    def wait_until_off(self) -> None:
        """Wait until it starts again by itself, which ends the process."""
        deadline = time.monotonic() + _SECONDS
        while self.is_running():
            assert time.monotonic() < deadline, self.console[-3000:]
            time.sleep(0.5)

    def _arguments(self, drives: Sequence[Path], sticks: Sequence[Path]) -> list[str]:
        media = [
            *((path, f"ide-cd,drive={{}},bus=ide.{number}") for number, path in enumerate(drives)),
            *((path, "usb-storage,drive={},removable=on") for path in sticks),
        ]
        arguments = [
            one
            for number, (path, device) in enumerate(media)
            for one in (
                *("-drive", f"file={path},if=none,id=m{number},format=raw,readonly=on"),
                *("-device", f"{device.format(f'm{number}')},bootindex={number}"),
            )
        ]
        arguments += [
            one
            for number, disk in enumerate(self.disks)
            for one in (
                *("-drive", f"file={disk},if=none,id=d{number},format=qcow2,cache=unsafe,discard=unmap"),
                *("-device", f"virtio-blk-pci,drive=d{number},serial=DISK{number},bootindex={number + 20}"),
            )
        ]
        line = f"socket,id=s,path={self._file('line')},server=on,wait=off,logfile={self._file('console')}"
        return [
            *("nice", "-n", "19", "qemu-system-x86_64"),
            *("-machine", "q35,smm=on" if self.firmware_kind == "secure" else "q35"),
            *("-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "2048", "-display", "none"),
            *(
                "-vga",
                "std",
                "-no-reboot",
                "-nodefaults",
                "-device",
                "virtio-rng-pci",
                "-device",
                "qemu-xhci",
            ),
            *("-chardev", line, "-serial", "chardev:s", *self._firmware(), *arguments),
            *("-netdev", "hubport,hubid=0,id=n0", "-device", f"virtio-net-pci,netdev=n0,mac={PRIVATE}"),
            *("-netdev", "hubport,hubid=1,id=n1", "-device", f"virtio-net-pci,netdev=n1,mac={PUBLIC}"),
        ]

    def _firmware(self) -> Sequence[str]:
        if self.firmware_kind == "bios":
            return ()
        if self.firmware_kind == "uefi":
            return self.firmware()
        variables = self._file("variables")
        if not variables.exists():
            shutil.copy(FIRMWARE / "OVMF_VARS_4M.ms.fd", variables)
        return (
            *("-drive", f"if=pflash,format=raw,readonly=on,file={FIRMWARE / 'OVMF_CODE_4M.secboot.fd'}"),
            *("-drive", f"if=pflash,format=raw,file={variables}"),
            *("-global", "driver=cfi.pflash01,property=secure,value=on"),
        )

    def _file(self, kind: str) -> Path:
        return self.folder / f"{self.name}.{kind}"


def make_stick(path: Path, site: Path) -> Path:
    """A stick with the label ROCKS_SITE and the files of the folder."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    with path.open("wb") as file:
        file.truncate(16 << 20)
    run_checked(["mkfs.vfat", "-n", "ROCKS_SITE", str(path)], deadline_seconds=60)
    run_checked(
        ["mcopy", "-s", "-i", str(path), *map(str, sorted(site.iterdir())), "::/"], deadline_seconds=60
    )
    return path
