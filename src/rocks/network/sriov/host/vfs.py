"""Virtual functions (SR-IOV) of a host: read from sysfs and /proc, created through sysfs, set by netlink."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Set, Tuple

from rocks.core.errors import BusyError, StateError, ToolError
from rocks.fleet.host.change import CHANGED, UNCHANGED, Change
from rocks.fleet.wire.facts import AdapterFact, VfFact
from rocks.fleet.wire.requests import VfSpec
from rocks.network.host.netlink import IFF_UP, NetlinkError, netlink, reason_of
from rocks.network.host.rules import check_device_name
from rocks.network.sriov.host.rules import (
    NO_MAC,
    Adapter,
    PlacedVf,
    Settings,
    check_adapter,
    check_count,
    check_unused,
    check_vf_spec,
    free_settings,
    problem_of,
    setting_rejected,
    settings_of,
    settings_that_differ,
    vf_of,
)

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


# Virtual functions (SR-IOV): created through sysfs, configured through the physical function by netlink.
#
# The driver of the physical function holds the settings of a VF, so the guest cannot change them. They persist when a
# guest stops and are lost with the VFs when the host boots. Sources: Documentation/ABI/testing/sysfs-bus-pci and
# Documentation/PCI/pci-iov-howto.rst of the kernel; tested with `igb` of Linux 6.1.
#
# `tests/fakes` implements the same Protocol in memory.


_WITH_VFS = 1
"""RTEXT_FILTER_VF of linux/rtnetlink.h: include VFs in the answer."""

_UNKNOWN = 0xFFFFFFFF
"""The kernel's value for a setting that the driver does not report (-1)."""


class Vfs:
    """The VFs of this host's network adapters. What is not documented here is in `VfDriver`."""

    def __init__(self) -> None:
        self._tree = VfSysfs()

    def read(self, device: str) -> AdapterFact:
        check_device_name(device)
        with _netlink(f"report the virtual functions of {device}") as route:
            adapter = self._adapter(route, device)
        return AdapterFact(
            device=device,
            most=adapter.most if adapter else 0,
            problem=problem_of(device, adapter),
            vfs=adapter.vfs if adapter else (),
        )

    def ensure_count(self, device: str, count: int) -> Change:
        check_device_name(device)
        with _netlink(f"report the virtual functions of {device}") as route:
            adapter = check_adapter(device, self._adapter(route, device))
        if len(adapter.vfs) >= count:
            return UNCHANGED
        check_count(adapter, count)
        if adapter.vfs:
            self._tree.set_count(device, 0)
        self._tree.set_count(device, count)
        return CHANGED

    def ensure(self, spec: VfSpec) -> PlacedVf:
        check_vf_spec(spec)
        with _netlink(f"set a virtual function of {spec.device}") as route:
            adapter = check_adapter(spec.device, self._adapter(route, spec.device))
            vf = vf_of(adapter, spec.number)
            check_unused(spec, adapter)
            changed = False
            for other in adapter.vfs:
                if other.mac == spec.mac and other.number != spec.number:
                    changed |= _set(route, spec.device, other, free_settings())
            changed |= _set(route, spec.device, vf, settings_of(spec))
            if _differing(route, spec):
                # that of a function that was just made may be replaced by its own driver's (igb, Linux 6.12)
                _set(route, spec.device, vf, settings_of(spec))
            for name, found, value in _differing(route, spec)[:1]:
                raise setting_rejected(
                    spec.device, spec.number, name, f"it has {found}, not {value}, afterwards"
                )
        return PlacedVf(vf.address, Change(changed))

    def ensure_free(self, spec: VfSpec) -> Change:
        check_vf_spec(spec)
        with _netlink(f"set a virtual function of {spec.device}") as route:
            adapter = self._adapter(route, spec.device)
            vfs = adapter.vfs if adapter else ()
            vf = next((one for one in vfs if one.number == spec.number), None)
            if adapter is None or vf is None:
                return UNCHANGED
            check_unused(spec, adapter._replace(vfs=(vf,)))
            return Change(_set(route, spec.device, vf, free_settings()))

    def _adapter(self, route: Any, device: str) -> Optional[Adapter]:
        locations = self._tree.locations(device)
        link = _read_link(route, device) if locations is not None else None
        if locations is None or link is None:
            return None
        reported = parse_vfs(link)
        return Adapter(
            device=device,
            is_up=bool(link["flags"] & IFF_UP),
            most=self._tree.most(device),
            has_iommu=self._tree.has_iommu(device),
            vfs=tuple(self._vf(route, location, reported.get(location.number, {})) for location in locations),
        )

    def _vf(self, route: Any, location: VfLocation, reported: Dict[str, Any]) -> VfFact:
        guest = self._tree.guest_of(location)
        user = guest or self._tree.namespace_of(location) or _host_use(route, location.device)
        return VfFact(
            number=location.number,
            address=location.address,
            mac=str(reported.get("mac", NO_MAC)),
            vlan=int(reported.get("vlan", 0)),
            checks_source=reported.get("spoofchk"),
            is_trusted=reported.get("trust"),
            use="guest" if guest else "host" if user else "free",
            user=user,
        )


def parse_vfs(message: Any) -> Dict[int, Dict[str, Any]]:
    """Number → settings (`mac`, `vlan`, `spoofchk`, `trust`) of an adapter's VFs, from the netlink message.

    Settings that the driver does not report are omitted.
    """
    found: Dict[int, Dict[str, Any]] = {}
    listed = message.get_attr("IFLA_VFINFO_LIST")
    for _, vf in listed["attrs"] if listed else ():
        values = {name: value for name, value in vf["attrs"] if isinstance(value, dict)}
        if "IFLA_VF_MAC" not in values:
            continue
        settings: Dict[str, Any] = {"mac": values["IFLA_VF_MAC"]["mac"].lower()}
        if "IFLA_VF_VLAN" in values:
            settings["vlan"] = int(values["IFLA_VF_VLAN"]["vlan"])
        for name in ("spoofchk", "trust"):
            number = values.get(f"IFLA_VF_{name.upper()}", {}).get(name, _UNKNOWN)
            if number not in (_UNKNOWN, -1):
                settings[name] = bool(number)
        found[int(values["IFLA_VF_MAC"]["vf"])] = settings
    return found


def _set(route: Any, device: str, vf: VfFact, requested: Settings) -> bool:
    """Set what differs, one setting at a time, so that an error names it; whether anything differed."""
    changes = settings_that_differ(vf, requested)
    number = route.link("get", ifname=device)[0]["index"] if changes else 0
    for name, value in changes.items():
        try:
            route.link("set", index=number, vf={"vf": vf.number, name: value})
        except NetlinkError as error:
            raise setting_rejected(device, vf.number, name, reason_of(error)) from None
    return bool(changes)


def _differing(route: Any, spec: VfSpec) -> List[Tuple[str, Any, Any]]:
    """(setting, what it is, what it should be): a driver may accept a setting without applying it."""
    link = _read_link(route, spec.device)
    reported = parse_vfs(link).get(spec.number, {}) if link is not None else {}
    return [
        (name, reported[name], value)
        for name, value in settings_of(spec).items()
        if reported.get(name) is not None and reported[name] != value
    ]


def _read_link(route: Any, device: str) -> Any:
    try:
        return route.link("get", ifname=device, ext_mask=_WITH_VFS)[0]
    except NetlinkError as error:
        if error.code == errno.ENODEV:
            return None
        raise


def _host_use(route: Any, device: str) -> str:
    """How the host uses a VF's network device; empty when it does not."""
    if not device:
        return ""
    link = _read_link(route, device)
    if link is None:
        return ""
    number, master = link["index"], link.get_attr("IFLA_MASTER")
    addresses: Tuple[Any, ...] = tuple(route.get_addr(index=number, scope=0))
    if master or addresses or any(one.get_attr("IFLA_LINK") == number for one in route.get_links()):
        return f"the host's own network device {device}"
    return ""


@contextmanager
def _netlink(what: str) -> Iterator[Any]:
    with netlink(what) as route:
        try:
            yield route
        except NetlinkError as error:
            if error.code == errno.EBUSY:
                raise BusyError(f"the kernel of this host is busy and did not {what}; try again") from None
            raise
