"""Virtual functions on a host: what the kernel's files have of them, and the records of those assigned."""

import json
from pathlib import Path
from typing import Any

import pytest

from rocks.core.errors import StateError, ToolError
from rocks.fleet.wire.facts import VfFact
from rocks.fleet.wire.requests import VfSpec
from rocks.network.sriov.host.guests import AssignedVfs, VfRecords
from rocks.network.sriov.host.rules import settings_that_differ
from rocks.network.sriov.host.vfs import VfLocation, VfSysfs, parse_vfs


class Tree:
    """An adapter eth1 at 0000:01:00.0 with two VFs, the second of which has no driver."""

    def __init__(self, folder: Path) -> None:
        self.sys, self.proc = folder / "sys", folder / "proc"
        self.devices = self.sys / "bus/pci/devices"
        self.adapter = self.devices / "0000:01:00.0"
        self.group(self.adapter, 7)
        (self.adapter / "sriov_totalvfs").write_text("7\n")
        (self.adapter / "sriov_numvfs").write_text("2\n")
        net = self.sys / "class/net/eth1"
        net.mkdir(parents=True)
        (net / "device").symlink_to(self.adapter)
        (self.sys / "class/net/lo").mkdir()
        for number, address in enumerate(("0000:01:10.0", "0000:01:10.2")):
            self.group(self.devices / address, 8 + number)
            (self.adapter / f"virtfn{number}").symlink_to(f"../{address}")
        (self.devices / "0000:01:10.0/net/eth4").mkdir(parents=True)
        self.tree = VfSysfs(self.sys, self.proc)

    def group(self, device: Path, number: int) -> None:
        """The device, in an IOMMU group."""
        group = self.sys / f"kernel/iommu_groups/{number}"
        group.mkdir(parents=True)
        device.mkdir(parents=True)
        (device / "iommu_group").symlink_to(group)

    def bind(self, address: str, driver: str) -> None:
        """The device gets a driver."""
        place = self.sys / "bus/pci/drivers" / driver
        place.mkdir(parents=True, exist_ok=True)
        (self.devices / address / "driver").symlink_to(place)

    def process(self, number: int, arguments: list[str], opens: str) -> None:
        """A process that has something open."""
        own = self.proc / str(number)
        (own / "fd").mkdir(parents=True)
        (own / "fd/3").symlink_to(opens)
        (own / "cmdline").write_bytes("\0".join(arguments).encode())


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """As the class says."""
    return Tree(tmp_path)


def test_what_is_there(tree: Tree) -> None:
    assert tree.tree.locations("eth1") == (
        VfLocation(0, "0000:01:10.0", "eth4"),
        VfLocation(1, "0000:01:10.2", ""),
    )
    assert tree.tree.most("eth1") == 7 and tree.tree.has_iommu("eth1")


def test_what_is_not_there(tree: Tree) -> None:
    assert tree.tree.locations("eth2") is None
    assert tree.tree.locations("lo") == ()
    assert tree.tree.most("lo") == 0 and not tree.tree.has_iommu("lo")


def test_more_than_nine_functions_are_in_the_order_of_their_numbers(tree: Tree) -> None:
    for number in range(2, 12):
        (tree.adapter / f"virtfn{number}").symlink_to("../0000:01:10.2")
    places = tree.tree.locations("eth1")
    assert places is not None and [place.number for place in places] == list(range(12))


def test_their_number_is_written(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    tree.tree.set_count("eth1", 5)
    assert (tree.adapter / "sriov_numvfs").read_text() == "5"

    def refuse(*_: Any) -> int:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(
        ToolError, match=r"did not make 5 virtual functions of eth1: Cannot allocate memory; see dmesg"
    ):
        tree.tree.set_count("eth1", 5)


def test_an_adapter_that_went_meanwhile(tree: Tree) -> None:
    with pytest.raises(StateError, match="the network adapter eth3 was removed from this host"):
        tree.tree.set_count("eth3", 5)


def test_who_holds_a_function(tree: Tree) -> None:
    first, second = tree.tree.locations("eth1") or ()
    tree.bind("0000:01:10.0", "vfio-pci")
    tree.bind("0000:01:10.2", "igbvf")
    tree.process(5, ["/usr/bin/qemu-system-x86_64", "-name", "guest=vm-a,debug-threads=on"], "/dev/vfio/8")
    tree.process(6, ["/usr/bin/qemu-system-x86_64", "-name", "guest=vm-b"], "/dev/vfio/9")
    assert tree.tree.guest_of(first) == "the guest vm-a"
    assert tree.tree.guest_of(second) == "", "a function with the host's own driver is not used by a guest"


def test_files_that_the_guest_closes_meanwhile(tree: Tree) -> None:
    """They do not hide the function that it has open; readlink fails for them as for a file that is closed."""
    first = (tree.tree.locations("eth1") or ())[0]
    tree.bind("0000:01:10.0", "vfio-pci")
    tree.process(5, ["/usr/bin/qemu-system-x86_64", "-name", "guest=vm-a"], "/dev/vfio/8")
    files = tree.proc / "5/fd"
    (files / "3").rename(files / "130")
    for number in (*range(100, 130), *range(131, 160)):
        (files / str(number)).write_text("no link")
    assert tree.tree.guest_of(first) == "the guest vm-a"


def test_a_function_that_was_left_to_vfio(tree: Tree) -> None:
    """Nobody has it open; and other things hold it than guests."""
    first = (tree.tree.locations("eth1") or ())[0]
    tree.bind("0000:01:10.0", "vfio-pci")
    tree.process(5, ["sleep", "1"], "/dev/null")
    assert tree.tree.guest_of(first) == ""
    tree.process(17, ["/opt/bin/dpdk", "-l"], "/dev/vfio/8")
    assert tree.tree.guest_of(first) == "process 17 (dpdk)"


def test_a_function_whose_network_device_is_elsewhere(tree: Tree) -> None:
    """The folder is there and empty; without it the function has no driver."""
    first, second = tree.tree.locations("eth1") or ()
    assert tree.tree.namespace_of(first) == tree.tree.namespace_of(second) == ""
    (tree.devices / "0000:01:10.0/net/eth4").rmdir()
    first = (tree.tree.locations("eth1") or ())[0]
    assert tree.tree.namespace_of(first) == "a network namespace of this host"


class Message(dict[str, Any]):
    """As pyroute2 gives one."""

    def get_attr(self, name: str) -> Any:
        return dict(self["attrs"]).get(name)


def message(*vfs: list[tuple[str, Any]]) -> Message:
    """An adapter's, of igb on Linux 6.1 as far as it matters here."""
    listed = {"attrs": [("IFLA_VF_INFO", {"attrs": attributes}) for attributes in vfs]}
    return Message(attrs=[("IFLA_NUM_VF", len(vfs)), ("IFLA_VFINFO_LIST", listed)])


def test_settings_from_netlink() -> None:
    reported = parse_vfs(
        message(
            [
                ("IFLA_VF_MAC", {"vf": 0, "mac": "52:54:00:AA:00:01"}),
                ("UNKNOWN", {"header": {"length": 36, "type": 13}}),
                ("IFLA_VF_VLAN", {"vf": 0, "vlan": 100, "qos": 0}),
                ("IFLA_VF_SPOOFCHK", {"vf": 0, "spoofchk": 1}),
                ("IFLA_VF_TRUST", {"vf": 0, "trust": 0}),
            ],
            [
                ("IFLA_VF_MAC", {"vf": 1, "mac": "00:00:00:00:00:00"}),
                ("IFLA_VF_SPOOFCHK", {"vf": 1, "spoofchk": 0xFFFFFFFF}),
            ],
        )
    )
    assert reported == {
        0: {"mac": "52:54:00:aa:00:01", "vlan": 100, "spoofchk": True, "trust": False},
        1: {"mac": "00:00:00:00:00:00"},
    }
    assert parse_vfs(Message(attrs=[])) == {}


def test_values_that_a_driver_does_not_report_are_set_when_needed() -> None:
    """A check of sources is always asked for then; trust, which no new function has, only when it is wanted."""
    silent = VfFact(0, "0000:01:10.0", "52:54:00:aa:00:01", 0, None, None, "free", "")
    requested = {"mac": "52:54:00:aa:00:01", "vlan": 0, "spoofchk": 1, "trust": 0}
    assert settings_that_differ(silent, requested) == {"spoofchk": 1}
    assert settings_that_differ(silent, {**requested, "trust": 1}) == {"spoofchk": 1, "trust": 1}


MAC = "52:54:00:aa:00:01"


def test_layout_of_the_file(tmp_path: Path) -> None:
    """The keys that a host's agent of an earlier version has written are written and read."""
    assigned = AssignedVfs(7, "boot", (VfSpec("eth1", 2, 0, MAC, 100),))
    VfRecords(tmp_path).write("vm-a", assigned)
    file = tmp_path / "functions/vm-a.json"
    vf = {
        "device": "eth1",
        "count": 2,
        "number": 0,
        "mac": MAC,
        "vlan": 100,
        "checks_source": True,
        "is_trusted": False,
    }
    assert json.loads(file.read_text()) == {"token": 7, "boot": "boot", "functions": [vf]}
    assert VfRecords(tmp_path).read("vm-a") == assigned
