"""The one door to InfiniBand adapters: keys and GUIDs of their virtual functions, by sysfs and netlink.

Sysfs is as the kernel's Documentation/ABI/stable/sysfs-class-infiniband (a port's `state`; `iov` of mlx4) and
Documentation/ABI/testing/sysfs-bus-pci (`physfn`, `virtfn<N>`) describe it. Two things are not in them (6.1): every
adapter has `ports/<m>/pkeys` and `ports/<m>/gids` as mlx4's `iov` has; and of mlx4's map one heading says
`iov/ports/<PCI address>/ports/<m>`, the text below it and the neighbouring heading `iov/<PCI address>/ports/<m>`, which
is what we use.

Functions of other drivers are set by netlink (IFLA_VF_IB_NODE_GUID and its neighbours in linux/if_link.h), or, where
their vendor's own driver is loaded, by `device/sriov/<N>/{node,port,policy}`, which the kernel's documents do not know.

`fake/pkeys.py` is the twin.
"""

from __future__ import annotations

from pathlib import Path
from typing import Callable, Dict, Iterator, List, Optional, Tuple

from rocks.clock import Deadline, wait_seconds
from rocks.devices.change import CHANGED, Change
from rocks.devices.infiniband.rules import (
    KEY_DEADLINE_SECONDS,
    Function,
    check_address,
    check_partition,
    key_is_missing,
    needs_virtual_manager,
    no_vf,
    plan_map,
    port_guid,
)
from rocks.devices.infiniband.sysfs import colons, read_table, read_text, write_changed
from rocks.errors import StateError
from rocks.wire.infiniband import PartitionSpec, PkeyInterface, PortFact

NOTHING = "none"
_POLL_SECONDS = 0.1


class Pkeys:
    """The adapters below a mounted sysfs; `set_link_vf` tells netlink, by default this machine's."""

    def __init__(
        self,
        sysfs: Path = Path("/sys"),
        set_link_vf: Optional[Callable[[str, int, Dict[str, object]], None]] = None,
        deadline_seconds: float = KEY_DEADLINE_SECONDS,
    ) -> None:
        self._sysfs = sysfs
        self._set_link_vf = set_link_vf or _by_netlink
        self._deadline_seconds = deadline_seconds

    def is_vf(self, address: str) -> bool:
        """As `PkeyDriver.is_vf`."""
        return self._find(check_address(address)) is not None

    def ensure(self, address: str, wanted: PartitionSpec) -> Change:
        """As `PkeyDriver.ensure`."""
        check_partition(wanted)
        function = self._must_find(address)
        if function.door == "index_map":
            return self._ensure_map(function, wanted)
        if not wanted.manager_sees_machines:
            raise needs_virtual_manager(function)
        if function.door == "vendor":
            return self._write_vendor(function, wanted)
        self._set_link_vf(
            function.link,
            function.number,
            {
                "ib_node_guid": colons(wanted.node_guid),
                "ib_port_guid": colons(wanted.port_guid),
                "link_state": 0,
            },
        )
        return CHANGED

    def clear(self, address: str) -> Change:
        """As `PkeyDriver.clear`."""
        function = self._must_find(address)
        if function.door == "index_map":
            shown = [self._show(port, {}) for port in self._function_ports(function).values()]
            return Change(any(shown))
        if function.door == "vendor":
            return Change(write_changed(self._vendor(function) / "policy", "Down"))
        self._set_link_vf(function.link, function.number, {"link_state": 2})
        return CHANGED

    def ports(self) -> List[PortFact]:
        """As `PkeyDriver.ports`."""
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

    def functions(self) -> List[Function]:
        """As `PkeyDriver.functions`."""
        found = []
        for device in self._devices():
            for entry in sorted((device / "device").glob("virtfn*")):
                function = self._find(entry.resolve().name)
                if function is not None and function not in found:
                    found.append(function)
        return sorted(found)

    def visible_keys(self, address: str) -> Tuple[int, ...]:
        """As `PkeyDriver.visible_keys`."""
        function = self._must_find(address)
        if function.door != "index_map":
            raise StateError(f"{function.device} of this host does not tell which keys {address} has")
        keys: List[int] = []
        for number, port in self._function_ports(function).items():
            table = read_table(self._iov(function) / "ports" / number / "pkeys")
            shown = (read_text(entry) for entry in _numbered(port / "pkey_idx"))
            keys += [table[int(text)] for text in shown if text != NOTHING and int(text) in table]
        return tuple(dict.fromkeys(keys))

    def _ensure_map(self, function: Function, wanted: PartitionSpec) -> Change:
        deadline = Deadline(self._deadline_seconds)
        while not any((plans := self._plans(function, wanted)).values()):
            if deadline.passed():
                raise key_is_missing(function, wanted)
            wait_seconds(_POLL_SECONDS)
        changed = False
        for number, port in self._function_ports(function).items():
            entry = read_text(port / "gid_idx" / "0")
            guids = self._iov(function) / "ports" / number / "admin_guids"
            # a port without the key belongs to another fabric, or to none: it shows nothing
            changed = self._show(port, plans[number] or {}) or changed
            if plans[number]:
                guid = port_guid(wanted, int(number)).lstrip("0")
                changed = write_changed(guids / entry, guid) or changed
        return Change(changed)

    def _plans(
        self, function: Function, wanted: PartitionSpec
    ) -> Dict[str, Optional[Dict[int, Optional[int]]]]:
        return {
            number: plan_map(
                read_table(self._iov(function) / "ports" / number / "pkeys"),
                len(_numbered(port / "pkey_idx")),
                wanted,
            )
            for number, port in self._function_ports(function).items()
        }

    def _show(self, port: Path, plan: Dict[int, Optional[int]]) -> bool:
        """Bring a map about, what is to vanish first: at no moment does a guest see two clusters."""
        entries = [(entry, plan.get(int(entry.name))) for entry in _numbered(port / "pkey_idx")]
        changed = False
        for entry, index in sorted(entries, key=lambda pair: pair[1] is not None):
            changed = write_changed(entry, NOTHING if index is None else str(index)) or changed
        return changed

    def _write_vendor(self, function: Function, wanted: PartitionSpec) -> Change:
        folder = self._vendor(function)
        changed = [
            write_changed(folder / name, text)
            for name, text in (
                ("node", colons(wanted.node_guid)),
                ("port", colons(wanted.port_guid)),
                ("policy", "Follow"),
            )
        ]
        return Change(any(changed))

    def _must_find(self, address: str) -> Function:
        function = self._find(check_address(address))
        if function is None:
            raise no_vf(address)
        return function

    def _find(self, address: str) -> Optional[Function]:
        physical = self._sysfs / "bus/pci/devices" / address / "physfn"
        for device in sorted((physical / "infiniband").glob("*")):
            for entry in physical.glob("virtfn*"):
                if entry.resolve().name == address:
                    number = int(entry.name[len("virtfn") :])
                    links = sorted(link.name for link in (physical / "net").glob("*"))
                    return Function(
                        address,
                        device.name,
                        number,
                        self._door(device.name, address, number),
                        links[0] if links else "",
                    )
        return None

    def _door(self, device: str, address: str, number: int) -> PkeyInterface:
        folder = self._sysfs / "class/infiniband" / device
        if (folder / "iov" / address).is_dir():
            return "index_map"
        return "vendor" if (folder / "device/sriov" / str(number)).is_dir() else "netlink"

    def _devices(self) -> List[Path]:
        return sorted((self._sysfs / "class/infiniband").glob("*"))

    def _iov(self, function: Function) -> Path:
        return self._sysfs / "class/infiniband" / function.device / "iov"

    def _function_ports(self, function: Function) -> Dict[str, Path]:
        return {port.name: port for port in _numbered(self._iov(function) / function.address / "ports")}

    def _vendor(self, function: Function) -> Path:
        return self._sysfs / "class/infiniband" / function.device / "device/sriov" / str(function.number)


def _numbered(folder: Path) -> List[Path]:
    """Entries of a folder whose names are numbers, in their order."""
    return sorted(_numbers(folder), key=lambda entry: int(entry.name))


def _numbers(folder: Path) -> Iterator[Path]:
    return (entry for entry in folder.glob("*") if entry.name.isdecimal())


def _by_netlink(link: str, number: int, values: Dict[str, object]) -> None:
    from rocks.devices.infiniband.netlink import set_link_vf

    set_link_vf(link, number, values)
