"""P_Keys of InfiniBand VFs, in memory and in a sysfs tree as documented by the kernel."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from rocks.core.errors import HostError, StateError, UserError
from rocks.fleet.wire.requests import PartitionSpec
from rocks.network.infiniband.host.hardware_check import departures, try_vf
from rocks.network.infiniband.host.pkey_rules import InfinibandVf, PkeyDriver
from rocks.network.infiniband.host.pkeys import Pkeys
from tests.contract.network.infiniband.adapter_tree import AdapterTree
from tests.contract.outcomes import changes_once, refused
from tests.fakes.infiniband import FakePkeys

FIRST, SECOND, OTHER = "0000:03:00.1", "0000:03:00.2", "0000:04:00.1"
RED = PartitionSpec(2, "full", "02000000000000a0", "02000000000000a1")
BLUE = PartitionSpec(3, "limited", "02000000000000b0", "02000000000000b1")


class World(Protocol):
    """mlx4_0 with two VFs, mlx5_0 with one."""

    driver: PkeyDriver

    def set_keys(self, *keys: int) -> None: ...  # the subnet manager programs mlx4_0's port


class FakeWorld:
    def __init__(self) -> None:
        self.fake = FakePkeys()
        self.fake.add(InfinibandVf(FIRST, "mlx4_0", 0, "index_map", "ib0"))
        self.fake.add(InfinibandVf(SECOND, "mlx4_0", 1, "index_map", "ib0"))
        self.fake.add(InfinibandVf(OTHER, "mlx5_0", 0, "netlink", "ib0"))
        self.fake.tables = {"mlx4_0": {}, "mlx5_0": {}}
        self.driver: PkeyDriver = self.fake

    def set_keys(self, *keys: int) -> None:
        self.fake.tables["mlx4_0"] = {index: key for index, key in enumerate(keys) if key}


class TreeWorld:
    """In a sysfs tree; netlink calls are recorded."""

    def __init__(self, folder: Path) -> None:
        self.tree = AdapterTree(folder)
        self.tree.add_adapter("mlx4_0", "0000:03:00", 2)
        self.tree.add_adapter("mlx5_0", "0000:04:00", 1, kind="mlx5")
        self.tree.add_other_device("0000:00:1f.2")
        self.sent: list[tuple[str, int, dict[str, object]]] = []
        self.driver: PkeyDriver = Pkeys(folder, lambda *call: self.sent.append(call), deadline_seconds=0.3)

    def set_keys(self, *keys: int) -> None:
        self.tree.set_keys("mlx4_0", *keys)


@pytest.fixture(params=["fake", "tree"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    yield FakeWorld() if request.param == "fake" else TreeWorld(tmp_path / "sys")


def test_each_vf_has_the_key_of_its_cluster(world: World) -> None:
    """At index 0, and the default partition's limited key besides; never the full one, nor a neighbour's."""
    world.set_keys(0xFFFF, 0x8002, 0x7FFF, 0x0003, 0x8003)
    assert world.driver.visible_keys(FIRST) == (0xFFFF,), (
        "initially a VF of mlx4 has the key of the default partition"
    )
    assert world.driver.ensure(FIRST, RED).changed
    assert world.driver.ensure(SECOND, BLUE).changed
    assert world.driver.visible_keys(FIRST) == (0x8002, 0x7FFF)
    assert world.driver.visible_keys(SECOND) == (0x0003, 0x7FFF)
    assert not world.driver.ensure(FIRST, RED).changed
    assert world.driver.ensure(FIRST, BLUE).changed
    assert world.driver.visible_keys(FIRST) == (0x0003, 0x7FFF)


def test_without_a_limited_default_key_a_function_sees_one_key(world: World) -> None:
    world.set_keys(0xFFFF, 0x8002)
    world.driver.ensure(FIRST, RED)
    assert world.driver.visible_keys(FIRST) == (0x8002,)


def test_a_cleared_function_sees_nothing(world: World) -> None:
    world.set_keys(0xFFFF, 0x8002)
    world.driver.ensure(FIRST, RED)
    assert world.driver.clear(FIRST).changed
    assert world.driver.visible_keys(FIRST) == ()
    assert not world.driver.clear(FIRST).changed


def test_a_key_that_does_not_come(world: World) -> None:
    """The VF is not changed."""
    world.set_keys(0xFFFF, 0x0002)
    waited = r"has not given the key 0x8002 to mlx4_0 of this host within (15|0\.3) s: check"
    with pytest.raises(StateError, match=waited):
        world.driver.ensure(FIRST, RED)
    assert world.driver.visible_keys(FIRST) == (0xFFFF,)


def test_what_is_no_function(world: World) -> None:
    assert world.driver.is_vf(FIRST) and world.driver.is_vf(OTHER)
    for address in ("0000:03:00.0", "0000:00:1f.2", "0000:09:00.1"):
        assert not world.driver.is_vf(address)
        with pytest.raises(StateError, match=f"no virtual function of an InfiniBand adapter at {address}"):
            world.driver.ensure(address, RED)
        refused(StateError, "", world.driver.clear, address)
    for address in ("", "../../etc", "03:00.1", "0000:03:00.1/..", "0000:03:00.9"):
        refused(UserError, "is not a PCI address", world.driver.is_vf, address)


@pytest.mark.parametrize(
    "spec",
    [
        PartitionSpec(0, "full", "02000000000000a0", "02000000000000a1"),
        PartitionSpec(0x7FFF, "full", "02000000000000a0", "02000000000000a1"),
        PartitionSpec(2, "full", "a0", "02000000000000a1"),
        PartitionSpec(2, "full", "02000000000000a0", "../../../../etc/1"),
    ],
)
def test_invalid_requests(world: World, spec: PartitionSpec) -> None:
    world.set_keys(0xFFFF, 0x8002)
    refused(UserError, "", world.driver.ensure, FIRST, spec)


def test_an_adapter_without_a_map_needs_a_manager_that_sees_machines(world: World) -> None:
    refused(StateError, "rocks set attr ib_sm virtual", world.driver.ensure, OTHER, RED)
    seen = PartitionSpec(2, "full", "02000000000000a0", "02000000000000a1", True)
    assert world.driver.ensure(OTHER, seen).changed
    refused(StateError, "does not report the keys", world.driver.visible_keys, OTHER)
    if isinstance(world, TreeWorld):
        assert world.sent == [
            (
                "ib0",
                0,
                {
                    "ib_node_guid": "02:00:00:00:00:00:00:a0",
                    "ib_port_guid": "02:00:00:00:00:00:00:a1",
                    "link_state": 0,
                },
            )
        ]
        world.driver.clear(OTHER)
        assert world.sent[-1] == ("ib0", 0, {"link_state": 2})


def test_listings(world: World) -> None:
    world.set_keys(0xFFFF, 0, 0x8002)
    assert [vf.address for vf in world.driver.vfs()] == [FIRST, SECOND, OTHER]
    assert [(port.device, port.number, port.state, port.keys) for port in world.driver.ports()] == [
        ("mlx4_0", 1, "4: ACTIVE", (0xFFFF, 0x8002)),
        ("mlx5_0", 1, "4: ACTIVE", ()),
    ]


# --- what only files can show


@pytest.fixture
def tree(tmp_path: Path) -> TreeWorld:
    return TreeWorld(tmp_path / "sys")


def test_what_stands_in_the_files(tree: TreeWorld) -> None:
    """Physical indexes in the map, `none` elsewhere; the GUID at the function's own index, without zeros in front."""
    tree.set_keys(0xFFFF, 0x8003, 0x8002, 0x7FFF)
    tree.driver.ensure(SECOND, RED)
    assert tree.tree.map_of("mlx4_0", SECOND) == ["2", "3", *["none"] * 6]
    assert tree.tree.map_of("mlx4_0", FIRST) == ["0", *["none"] * 7]
    guids = [tree.tree.value("mlx4_0", f"iov/ports/1/admin_guids/{index}") for index in range(4)]
    assert guids == ["0", "0", "2000000000000a1", "0"]


def test_a_key_that_comes_while_we_wait(tree: TreeWorld) -> None:
    tree.set_keys(0xFFFF)
    patient = Pkeys(tree.tree.sysfs, deadline_seconds=30)
    timer = threading.Timer(0.3, lambda: tree.set_keys(0xFFFF, 0x8002))
    timer.start()
    try:
        assert patient.ensure(FIRST, RED).changed
    finally:
        timer.join()


def test_a_port_without_the_key_shows_nothing(tmp_path: Path) -> None:
    """An adapter's second port may be on another fabric."""
    tree = AdapterTree(tmp_path / "sys")
    tree.add_adapter("mlx4_0", "0000:03:00", 1, ports=2)
    tree.set_keys("mlx4_0", 0xFFFF, port=1)
    tree.set_keys("mlx4_0", 0xFFFF, 0x8002, port=2)
    driver = Pkeys(tree.sysfs, deadline_seconds=0.3)
    driver.ensure(FIRST, RED)
    assert tree.map_of("mlx4_0", FIRST, 1) == ["none"] * 8
    assert tree.map_of("mlx4_0", FIRST, 2) == ["1", *["none"] * 7]
    assert tree.value("mlx4_0", "iov/ports/2/admin_guids/1") == "2000000000000a2", (
        "each port has a GUID of its own"
    )
    assert tree.value("mlx4_0", "iov/ports/1/admin_guids/1") == "0"


def test_files_of_a_vendors_driver(tmp_path: Path) -> None:
    tree = AdapterTree(tmp_path / "sys")
    tree.add_adapter("mlx5_0", "0000:04:00", 1, kind="vendor")
    driver = Pkeys(tree.sysfs)
    seen = PartitionSpec(2, "full", "02000000000000a0", "02000000000000a1", True)
    changes_once(driver.ensure, OTHER, seen)
    values = [tree.value("mlx5_0", f"device/sriov/0/{name}") for name in ("node", "port", "policy")]
    assert values == ["02:00:00:00:00:00:00:a0", "02:00:00:00:00:00:00:a1", "Follow"]
    assert driver.clear(OTHER).changed
    assert tree.value("mlx5_0", "device/sriov/0/policy") == "Down"


def test_files_that_say_something_else(tree: TreeWorld) -> None:
    tree.set_keys(0xFFFF, 0x8002)
    folder = tree.tree.sysfs / "class/infiniband/mlx4_0"
    (folder / "iov/ports/1/pkeys/3").write_text("key\n")
    refused(HostError, "contains 'key', which is not a partition key", tree.driver.ensure, FIRST, RED)
    tree.set_keys(0xFFFF, 0x8002)
    (folder / "iov/ports/1/admin_guids/1").unlink()
    refused(HostError, "cannot read .*admin_guids/1: No such file", tree.driver.ensure, FIRST, RED)


def test_the_check_of_a_host(tree: TreeWorld) -> None:
    """A tree as documented has no differences; each missing file or unexpected value is one."""
    tree.set_keys(0xFFFF, 0x8002)
    sysfs = tree.tree.sysfs
    assert departures(sysfs, tree.driver) == []
    assert try_vf(sysfs, tree.driver, FIRST) == []
    assert tree.tree.map_of("mlx4_0", FIRST) == ["0", *["none"] * 7], "everything was restored"
    assert tree.tree.value("mlx4_0", "iov/ports/1/admin_guids/1") == "0"
    refused(StateError, "cannot report the settings", try_vf, sysfs, tree.driver, OTHER)
    refused(StateError, "no virtual function", try_vf, sysfs, tree.driver, "0000:09:00.1")
    folder = sysfs / "class/infiniband/mlx4_0"
    (folder / "iov" / FIRST / "ports/1/pkey_idx/0").write_text("127 (none)\n")
    (folder / "iov/ports/1/admin_guids/1").unlink()
    found = departures(sysfs, tree.driver)
    assert any("pkey_idx/0 reads '127 (none)'" in line for line in found)
    assert any("cannot read" in line and "admin_guids/1" in line for line in found)
