"""A host with VFs, and actions of guests and the host on them: in memory, and with igb."""

import subprocess  # noqa: TID251 - a process that opens a VF, as QEMU does
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from rocks.network.sriov.host.rules import VfDriver
from tests.fakes.virtual_functions import FakeVfs

ADAPTER, PLAIN_ADAPTER = "trunk0", "storage0"
"""With and without VFs."""

_MAX_SECONDS = 30.0
_HOLD = "import os, sys, time; os.open(sys.argv[1], os.O_RDWR); print(); sys.stdout.flush(); time.sleep(600)"


class VfWorld(Protocol):
    """What a case may do to the host."""

    driver: VfDriver

    def set_up(self, is_up: bool) -> None: ...  # take the adapter down, or bring it up
    def hand_to_guest(self, number: int, name: str) -> None: ...  # assign the VF to a guest
    def take_from_guest(self, number: int) -> None: ...  # stop the guest; the VF returns to the host's driver
    def host_takes(self, number: int) -> None: ...  # add an address to the VF's network device
    def host_releases(self, number: int) -> None: ...  # remove the address
    def host_hides(self, number: int) -> None: ...  # move the VF's network device into a network namespace
    def boot(self) -> None: ...  # remove all VFs with their settings


class FakeVfWorld:
    def __init__(self) -> None:
        self.fake = FakeVfs()
        self.fake.add(ADAPTER)
        self.fake.add(PLAIN_ADAPTER, most=0)
        self.driver: VfDriver = self.fake

    def set_up(self, is_up: bool) -> None:
        self.fake.adapters[ADAPTER] = self.fake.adapters[ADAPTER]._replace(is_up=is_up)

    def hand_to_guest(self, number: int, name: str) -> None:
        self.fake.use(ADAPTER, number, f"the guest {name}")

    def take_from_guest(self, number: int) -> None:
        self.fake.use(ADAPTER, number, "")

    def host_takes(self, number: int) -> None:
        self.fake.use(ADAPTER, number, f"the host's own network device eth{number}")

    def host_releases(self, number: int) -> None:
        self.fake.use(ADAPTER, number, "")

    def host_hides(self, number: int) -> None:
        self.fake.use(ADAPTER, number, "a network namespace of this host")

    def boot(self) -> None:
        self.fake.adapters[ADAPTER] = self.fake.adapters[ADAPTER]._replace(vfs=())


class RealVfWorld:
    """A machine of the lab, whose trunk is an igb behind an IOMMU."""

    def __init__(self) -> None:
        from rocks.network.sriov.host.vfs import Vfs

        self.driver: VfDriver = Vfs()
        self._own = Path("/sys/class/net") / ADAPTER / "device"
        self._holders: dict[int, subprocess.Popen[bytes]] = {}

    def set_up(self, is_up: bool) -> None:
        _run("ip", "link", "set", ADAPTER, "up" if is_up else "down")

    def hand_to_guest(self, number: int, name: str) -> None:
        _run("modprobe", "vfio-pci")
        address = self._bind(number, "vfio-pci")
        group = (Path("/sys/bus/pci/devices") / address / "iommu_group").resolve().name
        arguments = [
            sys.executable,
            "-c",
            _HOLD,
            f"/dev/vfio/{group}",
            "-name",
            f"guest={name},debug-threads=on",
        ]
        holder = subprocess.Popen(arguments, stdout=subprocess.PIPE)
        assert holder.stdout.readline() == b"\n", "the VF could not be opened"
        self._holders[number] = holder

    def take_from_guest(self, number: int) -> None:
        self._end(number)
        self._bind(number, "")

    def host_takes(self, number: int) -> None:
        _run("ip", "address", "add", "192.0.2.1/24", "dev", self._device(number))

    def host_releases(self, number: int) -> None:
        _run("ip", "address", "flush", "dev", self._device(number))

    def host_hides(self, number: int) -> None:
        if not Path("/run/netns/hidden").exists():
            _run("ip", "netns", "add", "hidden")
        _run("ip", "link", "set", self._device(number), "netns", "hidden")

    def boot(self) -> None:
        for number in list(self._holders):
            self._end(number)
        (self._own / "sriov_numvfs").write_text("0")

    def _bind(self, number: int, driver: str) -> str:
        own = (self._own / f"virtfn{number}").resolve()
        (own / "driver_override").write_text(f"{driver}\n")
        if (own / "driver").exists():
            (own / "driver" / "unbind").write_text(own.name)
        Path("/sys/bus/pci/drivers_probe").write_text(own.name)
        return own.name

    def _device(self, number: int) -> str:
        """udev gives the device its name a moment after the driver has it."""
        end = time.monotonic() + _MAX_SECONDS
        while True:
            _run("udevadm", "settle")
            names = [path.name for path in (self._own / f"virtfn{number}").glob("net/*")]
            if names or time.monotonic() > end:
                return names[0]
            time.sleep(0.1)

    def _end(self, number: int) -> None:
        holder = self._holders.pop(number)
        holder.kill()
        holder.wait()
        holder.stdout.close()


@contextmanager
def open_world(kind: str) -> Iterator[VfWorld]:
    """The host with its adapter up and without VFs, before and after."""
    world: VfWorld = FakeVfWorld() if kind == "fake" else RealVfWorld()
    world.boot()
    world.set_up(True)
    try:
        yield world
    finally:
        world.boot()
        world.set_up(True)


def _run(*arguments: str) -> None:
    subprocess.run(arguments, check=True, timeout=_MAX_SECONDS)
