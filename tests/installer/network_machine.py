"""Blank emulated machines that boot from the network: QEMU without KVM, at the other end of a frontend's tap device."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rocks.core.process import start_in_background
from tests.installer.emulated_machine import EmulatedMachine
from tests.installer.installing_site import InstallingSite

_POLL_SECONDS = 10
"""Each look is a command, which takes time from the machine."""
_DISCOVERY_SECONDS = 900


@dataclass
class NetworkMachine(EmulatedMachine):
    """An emulated machine on the network private, which always boots from the network first."""

    frontend: InstallingSite
    name: str
    disks: list[Path]
    mac: str = "52:54:00:00:00:09"
    uefi: bool = False
    bus: str = "virtio-blk-pci"
    memory_mb: int = 1024
    tap: str = ""
    """Its end of the cable; that of the frontend's first machine if it is empty."""

    def start(self) -> None:
        self._process = start_in_background(self._arguments(), self._file("log"))

    def discovered(self, appliance: str) -> tuple[str, str]:
        """Switch it on while `rocks discover host` waits for it; returns the name and the address that it got."""
        discovery = self.frontend.discover(
            f"appliance={appliance}", "count=1", f"timeout={_DISCOVERY_SECONDS}"
        )
        try:
            self.start()
            printed, _ = discovery.communicate(timeout=_DISCOVERY_SECONDS + 60)
        finally:
            discovery.kill()
        found = re.search(rf"^{self.mac} is ([\w-]+), ([0-9.]+); to be installed$", printed, re.MULTILINE)
        assert found, f"{printed}\n{self.evidence()}"
        return found[1], found[2]

    def wait_until(self, condition: Callable[[], bool], what: str, seconds: float = 5400) -> None:
        """Wait for the condition; AssertionError with the end of console and logs."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.is_running(), f"{what}: the machine went off\n{self.evidence()}"
            assert time.monotonic() < deadline, f"{what}: not within {seconds} s\n{self.evidence()}"
            time.sleep(_POLL_SECONDS)

    def wait_for_state(self, host: str, state: str, seconds: float = 5400) -> None:
        """Wait for a state of the host's installation; a failure ends the waiting."""

        def reached() -> bool:
            found, report = self.frontend.state(host)
            assert found == state or not found.endswith("failed"), f"{report}\n{self.evidence()}"
            return found == state

        self.wait_until(reached, state, seconds)

    def evidence(self) -> str:
        return f"{self._file('log').read_text()}\n{self.console[-4000:]}\n{self.frontend.log()}"

    def _arguments(self) -> list[str]:
        drives = [
            part
            for number, disk in enumerate(self.disks)
            for part in (
                *("-drive", f"file={disk},if=none,id=d{number},format=qcow2,cache=unsafe,discard=unmap"),
                *("-device", f"{self.bus},drive=d{number},serial=DISK{number},bootindex={number + 1}"),
            )
        ]
        console = ("-chardev", f"file,id=c,path={self._file('console')},append=on", "-serial", "chardev:c")
        network = ("-netdev", f"tap,id=n,ifname={self.tap or self.frontend.tap},script=no,downscript=no")
        return [
            *("nice", "-n", "19", "qemu-system-x86_64", "-machine", "q35,graphics=off"),
            *("-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", str(self.memory_mb)),
            *("-display", "none", "-vga", "none", "-nodefaults", "-device", "virtio-rng-pci"),
            *console,
            *network,
            *("-device", f"virtio-net-pci,netdev=n,mac={self.mac},bootindex=0"),
            *(self.firmware() if self.uefi else ()),
            *drives,
        ]

    def _file(self, kind: str) -> Path:
        return self.frontend.folder / f"{self.name}.{kind}"
