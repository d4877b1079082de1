"""VFs in sysfs and /proc: their number, maximum and users. Tests pass other roots."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import List, NamedTuple, Optional, Set, Tuple

from rocks.core.errors import StateError, ToolError

_GUEST_NAME = re.compile(r"(?:\A|,)guest=([^,]+)")


class VfLocation(NamedTuple):
    """A VF: number, PCI address, and its network device on the host (empty without one)."""

    number: int
    address: str
    device: str


class VfSysfs:
    """The parts of /sys and /proc that describe VFs."""

    def __init__(self, sys: Path = Path("/sys"), proc: Path = Path("/proc")) -> None:
        self._sys = sys
        self._proc = proc

    def locations(self, device: str) -> Optional[Tuple[VfLocation, ...]]:
        """The VFs of an adapter by number; None when there is no such network device."""
        if not (self._sys / "class/net" / device).is_dir():
            return None
        found: List[VfLocation] = []
        for link in self._of(device).glob("virtfn*"):
            own = self._sys / "bus/pci/devices" / link.resolve().name
            devices = sorted(path.name for path in own.glob("net/*"))
            found.append(VfLocation(int(link.name[len("virtfn") :]), own.name, devices[0] if devices else ""))
        return tuple(sorted(found))

    def most(self, device: str) -> int:
        """Maximum number of VFs; 0 without SR-IOV."""
        try:
            return int((self._of(device) / "sriov_totalvfs").read_text("ascii"))
        except (OSError, ValueError):
            return 0

    def has_iommu(self, device: str) -> bool:
        """Whether the adapter belongs to an IOMMU group."""
        return (self._of(device) / "iommu_group").exists()

    def set_count(self, device: str, count: int) -> None:
        """Set the number of VFs; the kernel requires 0 between two other numbers. ToolError when it fails."""
        path = self._of(device) / "sriov_numvfs"
        try:
            path.write_text(str(count), "ascii")
        except FileNotFoundError:
            raise StateError(f"the network adapter {device} was removed from this host") from None
        except OSError as error:
            raise ToolError(
                f"the kernel of this host did not make {count} virtual functions of {device}: {error.strerror}; "
                "see dmesg"
            ) from None

    def guest_of(self, location: VfLocation) -> str:
        """The user of the VF by VFIO: `the guest NAME`, or another process; empty without one.

        Only one process can open a VFIO group; this search does not open it.
        """
        own = self._sys / "bus/pci/devices" / location.address
        if os.path.basename(os.path.realpath(own / "driver")) != "vfio-pci":  # noqa: PTH119 - of a link that may be missing
            return ""
        group = f"/dev/vfio/{(own / 'iommu_group').resolve().name}"
        for process in self._proc.glob("[0-9]*"):
            if group in _open_paths(process / "fd"):
                return _name_of(process)
        return ""

    def namespace_of(self, location: VfLocation) -> str:
        """`a network namespace …` when the VF's network device was moved into one, as for a container.

        The kernel then shows an empty folder `net`.
        """
        own = self._sys / "bus/pci/devices" / location.address / "net"
        return "a network namespace of this host" if own.is_dir() and not location.device else ""

    def _of(self, device: str) -> Path:
        return self._sys / "class/net" / device / "device"


def _open_paths(folder: Path) -> Set[str]:
    """Targets of a process's open files. A file that is closed meanwhile (QEMU does so all the time) hides no other."""
    found: Set[str] = set()
    with contextlib.suppress(OSError):  # the process has ended
        for file in folder.iterdir():
            with contextlib.suppress(OSError):
                found.add(str(file.readlink()))
    return found


def _name_of(process: Path) -> str:
    arguments: List[str] = [""]
    with contextlib.suppress(OSError):  # it ends just now, and had the group open
        arguments = (process / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    for argument in arguments:
        named = _GUEST_NAME.search(argument)
        if named:
            return f"the guest {named.group(1)}"
    return f"process {process.name} ({Path(arguments[0]).name})"
