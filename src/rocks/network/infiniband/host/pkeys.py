"""P_Keys and GUIDs of the VFs of InfiniBand adapters, read and set by sysfs and netlink."""

from __future__ import annotations

from pathlib import Path
from typing import Callable, Dict, List, Optional, Tuple

from rocks.core.clock import Deadline, wait_seconds
from rocks.core.errors import HostError, StateError, ToolError
from rocks.fleet.host.change import CHANGED, Change
from rocks.fleet.wire.requests import PartitionSpec, PkeyInterface, PortFact
from rocks.network.infiniband.host.pkey_rules import (
    InfinibandVf,
    check_address,
    check_partition,
    key_is_missing,
    no_key_map_error,
    no_vf,
    plan_map,
    port_guid,
)


def read_text(path: Path) -> str:
    """The value of a file. HostError when it cannot be read."""
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise HostError(f"cannot read {path}: {_reason(error)}") from None


def read_table(folder: Path) -> Dict[int, int]:
    """Index → key of a port's table; empty entries (0x0000) are omitted. HostError for an invalid value."""
    found = {}
    for entry in folder.glob("*"):
        text = read_text(entry)
        try:
            key = int(text, 16)
        except ValueError:
            raise HostError(f"{entry} contains {text[:40]!r}, which is not a partition key") from None
        if key and entry.name.isdecimal():
            found[int(entry.name)] = key
    return found


def write_changed(path: Path, text: str) -> bool:
    """Write the value unless the file has it; whether it was written. ToolError when the write fails."""
    if read_text(path) == text:
        return False
    try:
        path.write_text(f"{text}\n", encoding="ascii")
    except OSError as error:
        raise ToolError(
            f"the kernel of this host did not accept {text} for {path}: {error.strerror}"
        ) from None
    return True


def colons(guid: str) -> str:
    """Sixteen hexadecimal digits as pairs separated by colons."""
    return ":".join(guid[i : i + 2] for i in range(0, 16, 2))


def _reason(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or "it is not text"


# P_Keys and GUIDs of the VFs of InfiniBand adapters, by sysfs and netlink.
#
# The files of mlx4 are documented in Documentation/ABI/stable/sysfs-class-infiniband (a port's `state`; `iov`) and
# Documentation/ABI/testing/sysfs-bus-pci (`physfn`, `virtfn<N>`) of Linux 6.1. Two points differ or are missing there:
# every adapter has `ports/<m>/pkeys` and `ports/<m>/gids` as mlx4's `iov` has; and for mlx4's map one heading gives
# `iov/ports/<PCI address>/ports/<m>`, its text and the next heading `iov/<PCI address>/ports/<m>`, which is used here.
#
# VFs of other drivers are configured by netlink (IFLA_VF_IB_NODE_GUID etc. in linux/if_link.h) or, with mlx5's vendor
# driver, by `device/sriov/<N>/{node,port,policy}`, which the kernel does not document.
#
# `tests/fakes` implements the same Protocol in memory.


KEY_DEADLINE_SECONDS = 15.0
"""How long a start waits for the subnet manager to give the key."""

NO_KEY = "none"
_POLL_SECONDS = 0.1


def set_link_vf(link: str, number: int, values: Dict[str, object]) -> None:
    """Set `ib_node_guid`, `ib_port_guid`, `link_state` (0: as the port, 2: down) of VF `number` of the device `link`.

    StateError when the adapter has no network device, ToolError with the kernel's error.
    """
    from rocks.network.host.netlink import netlink

    if not link:
        raise StateError(
            "the InfiniBand adapter of this host has no network device: load its module ib_ipoib"
        )
    with netlink(f"set virtual function {number} of {link}") as route:
        found = route.link_lookup(ifname=link)
        if not found:
            raise StateError(f"this host has no network device {link}")
        route.link("set", index=found[0], vf={"vf": number, **values})


class Pkeys:
    """`PkeyDriver` below a mounted sysfs; `set_vf` configures by netlink, by default on this machine."""

    def __init__(
        self,
        sysfs: Path = Path("/sys"),
        set_vf: Callable[[str, int, Dict[str, object]], None] = set_link_vf,
        deadline_seconds: float = KEY_DEADLINE_SECONDS,
    ) -> None:
        self._sysfs = sysfs
        self._set_link_vf = set_vf
        self._deadline_seconds = deadline_seconds

    def is_vf(self, address: str) -> bool:
        return self._find(check_address(address)) is not None

    def ensure(self, address: str, spec: PartitionSpec) -> Change:
        check_partition(spec)
        vf = self._must_find(address)
        if vf.interface == "index_map":
            return self._ensure_map(vf, spec)
        if not spec.manager_sees_machines:
            raise no_key_map_error(vf)
        if vf.interface == "vendor":
            return self._write_vendor(vf, spec)
        self._set_link_vf(
            vf.link,
            vf.number,
            {
                "ib_node_guid": colons(spec.node_guid),
                "ib_port_guid": colons(spec.port_guid),
                "link_state": 0,
            },
        )
        return CHANGED

    def clear(self, address: str) -> Change:
        vf = self._must_find(address)
        if vf.interface == "index_map":
            visible = [self._show(port, {}) for port in self._vf_ports(vf).values()]
            return Change(any(visible))
        if vf.interface == "vendor":
            return Change(write_changed(self._vendor(vf) / "policy", "Down"))
        self._set_link_vf(vf.link, vf.number, {"link_state": 2})
        return CHANGED

    def ports(self) -> List[PortFact]:
        found = []
        for device in self._devices():
            for port in _numbered(device / "ports"):
                gid = read_text(port / "gids" / "0")
                found.append(
                    PortFact(
                        device.name,
                        int(port.name),
                        gid.replace(":", "")[-16:],
                        read_text(port / "state"),
                        tuple(key for _, key in sorted(read_table(port / "pkeys").items())),
                    )
                )
        return found

    def vfs(self) -> List[InfinibandVf]:
        found = []
        for device in self._devices():
            for entry in sorted((device / "device").glob("virtfn*")):
                vf = self._find(entry.resolve().name)
                if vf is not None and vf not in found:
                    found.append(vf)
        return sorted(found)

    def visible_keys(self, address: str) -> Tuple[int, ...]:
        vf = self._must_find(address)
        if vf.interface != "index_map":
            raise StateError(f"{vf.device} of this host does not report the keys of {address}")
        keys: List[int] = []
        for number, port in self._vf_ports(vf).items():
            table = read_table(self._iov(vf) / "ports" / number / "pkeys")
            visible = (read_text(entry) for entry in _numbered(port / "pkey_idx"))
            keys += [table[int(text)] for text in visible if text != NO_KEY and int(text) in table]
        return tuple(dict.fromkeys(keys))

    def _ensure_map(self, vf: InfinibandVf, spec: PartitionSpec) -> Change:
        deadline = Deadline(self._deadline_seconds)
        while not any((plans := self._plans(vf, spec)).values()):
            if deadline.passed():
                raise key_is_missing(vf, spec, self._deadline_seconds)
            wait_seconds(_POLL_SECONDS)
        changed = False
        for number, port in self._vf_ports(vf).items():
            entry = read_text(port / "gid_idx" / "0")
            guids = self._iov(vf) / "ports" / number / "admin_guids"
            # a port without the key belongs to another fabric or to none: no key is visible
            changed = self._show(port, plans[number] or {}) or changed
            if plans[number]:
                guid = port_guid(spec, int(number)).lstrip("0")
                changed = write_changed(guids / entry, guid) or changed
        return Change(changed)

    def _plans(self, vf: InfinibandVf, spec: PartitionSpec) -> Dict[str, Optional[Dict[int, Optional[int]]]]:
        return {
            number: plan_map(
                read_table(self._iov(vf) / "ports" / number / "pkeys"),
                len(_numbered(port / "pkey_idx")),
                spec,
            )
            for number, port in self._vf_ports(vf).items()
        }

    def _show(self, port: Path, plan: Dict[int, Optional[int]]) -> bool:
        """Write the map, removals first: a guest never sees the keys of two clusters."""
        entries = [(entry, plan.get(int(entry.name))) for entry in _numbered(port / "pkey_idx")]
        changed = False
        for entry, index in sorted(entries, key=lambda pair: pair[1] is not None):
            changed = write_changed(entry, NO_KEY if index is None else str(index)) or changed
        return changed

    def _write_vendor(self, vf: InfinibandVf, spec: PartitionSpec) -> Change:
        folder = self._vendor(vf)
        changed = [
            write_changed(folder / name, text)
            for name, text in (
                ("node", colons(spec.node_guid)),
                ("port", colons(spec.port_guid)),
                ("policy", "Follow"),
            )
        ]
        return Change(any(changed))

    def _must_find(self, address: str) -> InfinibandVf:
        vf = self._find(check_address(address))
        if vf is None:
            raise no_vf(address)
        return vf

    def _find(self, address: str) -> Optional[InfinibandVf]:
        physical = self._sysfs / "bus/pci/devices" / address / "physfn"
        for device in sorted((physical / "infiniband").glob("*")):
            for entry in physical.glob("virtfn*"):
                if entry.resolve().name == address:
                    number = int(entry.name[len("virtfn") :])
                    links = sorted(link.name for link in (physical / "net").glob("*"))
                    return InfinibandVf(
                        address,
                        device.name,
                        number,
                        self._interface(device.name, address, number),
                        links[0] if links else "",
                    )
        return None

    def _interface(self, device: str, address: str, number: int) -> PkeyInterface:
        folder = self._sysfs / "class/infiniband" / device
        if (folder / "iov" / address).is_dir():
            return "index_map"
        return "vendor" if (folder / "device/sriov" / str(number)).is_dir() else "netlink"

    def _devices(self) -> List[Path]:
        return sorted((self._sysfs / "class/infiniband").glob("*"))

    def _iov(self, vf: InfinibandVf) -> Path:
        return self._sysfs / "class/infiniband" / vf.device / "iov"

    def _vf_ports(self, vf: InfinibandVf) -> Dict[str, Path]:
        return {port.name: port for port in _numbered(self._iov(vf) / vf.address / "ports")}

    def _vendor(self, vf: InfinibandVf) -> Path:
        return self._sysfs / "class/infiniband" / vf.device / "device/sriov" / str(vf.number)


def _numbered(folder: Path) -> List[Path]:
    """Entries with numeric names, in numeric order."""
    numbers = (entry for entry in folder.glob("*") if entry.name.isdecimal())
    return sorted(numbers, key=lambda entry: int(entry.name))
