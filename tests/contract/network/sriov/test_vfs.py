"""Virtual functions of an adapter, in memory and on a real one (SR-IOV)."""

from collections.abc import Iterator

import pytest

from rocks.core.errors import BusyError, StateError, ToolError, UserError
from rocks.fleet.wire.facts import VfFact
from rocks.fleet.wire.requests import VfSpec
from rocks.network.sriov.host.rules import NO_MAC
from tests.contract.network.sriov.vf_world import ADAPTER, PLAIN_ADAPTER, VfWorld, open_world
from tests.contract.outcomes import changes_once, refused
from tests.contract.worlds import WORLDS
from tests.fakes.virtual_functions import FakeVfs

MAC, OTHER_MAC = "52:54:00:aa:00:01", "52:54:00:aa:00:02"
FIRST = VfSpec(ADAPTER, 2, 0, MAC, vlan=100)
SECOND = VfSpec(ADAPTER, 2, 1, OTHER_MAC, vlan=100)


@pytest.fixture(params=WORLDS)
def world(request: pytest.FixtureRequest) -> Iterator[VfWorld]:
    """A host whose adapter has no VFs yet."""
    with open_world(request.param) as opened:
        yield opened


def vfs(world: VfWorld) -> tuple[VfFact, ...]:
    return world.driver.read(ADAPTER).vfs


def vf(world: VfWorld, number: int) -> VfFact:
    return vfs(world)[number]


def test_vfs_are_created_and_their_number_never_shrinks(world: VfWorld) -> None:
    """The requested number, each with its own address; a larger number recreates all."""
    adapter = world.driver.read(ADAPTER)
    assert (adapter.most, adapter.problem, adapter.vfs) == (7, "", ())
    changes_once(world.driver.ensure_count, ADAPTER, 2)
    assert not world.driver.ensure_count(ADAPTER, 1).changed
    found = vfs(world)
    assert [one.number for one in found] == [0, 1]
    assert [one.address for one in found] == ["0000:01:10.0", "0000:01:10.2"]
    assert [one.use for one in found] == ["free", "free"]
    assert world.driver.ensure_count(ADAPTER, 3).changed
    assert len(vfs(world)) == 3


def test_settings_of_a_vf(world: VfWorld) -> None:
    """MAC address, VLAN, check of sources, trust; the second time nothing changes; its neighbour has nothing of it."""
    world.driver.ensure_count(ADAPTER, 2)
    placed = world.driver.ensure(FIRST)
    assert placed.address == "0000:01:10.0" and placed.change.changed
    assert not world.driver.ensure(FIRST).change.changed
    made = vf(world, 0)
    assert (made.mac, made.vlan, made.checks_source, made.is_trusted) == (MAC, 100, True, False)
    assert vf(world, 1).vlan == 0 and vf(world, 1).mac != MAC
    loose = VfSpec(ADAPTER, 2, 0, MAC, 0, checks_source=False, is_trusted=True)
    assert world.driver.ensure(loose).change.changed
    made = vf(world, 0)
    assert (made.mac, made.vlan, made.checks_source, made.is_trusted) == (MAC, 0, False, True)


def test_settings_of_an_earlier_guest_are_cleared(world: VfWorld) -> None:
    """In the VF itself, and in another VF with the same MAC address."""
    world.driver.ensure_count(ADAPTER, 2)
    world.driver.ensure(VfSpec(ADAPTER, 2, 0, MAC, 7, checks_source=False, is_trusted=True))
    world.driver.ensure(VfSpec(ADAPTER, 2, 1, MAC, 8))
    stale = vf(world, 0)
    assert (stale.vlan, stale.checks_source, stale.is_trusted) == (0, True, False)
    assert stale.mac != MAC
    world.driver.ensure(SECOND)
    made = vf(world, 1)
    assert (made.mac, made.vlan, made.checks_source, made.is_trusted) == (OTHER_MAC, 100, True, False)


def test_a_vf_is_released(world: VfWorld) -> None:
    """Once, whatever its address is by then; its neighbour stays."""
    world.driver.ensure_count(ADAPTER, 2)
    world.driver.ensure(FIRST)
    world.driver.ensure(SECOND)
    changes_once(world.driver.ensure_free, FIRST)
    free = vf(world, 0)
    assert (free.mac, free.vlan, free.checks_source, free.is_trusted) == (NO_MAC, 0, True, False)
    assert vf(world, 1).mac == OTHER_MAC
    assert world.driver.ensure_free(VfSpec(ADAPTER, 2, 1, MAC)).changed, "whatever libvirt made of it"
    assert vf(world, 1).mac == NO_MAC
    world.boot()
    assert not world.driver.ensure_free(SECOND).changed


def test_the_vf_of_a_running_guest_is_not_changed(world: VfWorld) -> None:
    """Nothing of it is changed while the guest has it, and none is taken away with the others."""
    world.driver.ensure_count(ADAPTER, 2)
    world.driver.ensure(FIRST)
    world.hand_to_guest(0, "vm-a")
    assert (vf(world, 0).use, vf(world, 0).user) == ("guest", "the guest vm-a")
    with pytest.raises(BusyError, match=f"function 0 of {ADAPTER} on this host is in use, by the guest vm-a"):
        world.driver.ensure(VfSpec(ADAPTER, 2, 0, OTHER_MAC))
    refused(BusyError, "by the guest vm-a", world.driver.ensure_free, FIRST)
    with pytest.raises(
        BusyError, match=f"virtual function 0 .* has the MAC address {MAC} .* by the guest vm-a"
    ):
        world.driver.ensure(VfSpec(ADAPTER, 2, 1, MAC))
    with pytest.raises(BusyError, match="only while none is in use, but 0 is, by the guest vm-a"):
        world.driver.ensure_count(ADAPTER, 3)
    assert len(vfs(world)) == 2 and vf(world, 0).mac == MAC
    assert world.driver.ensure(SECOND).change.changed
    world.take_from_guest(0)
    assert vf(world, 0).use == "free"
    assert world.driver.ensure_free(FIRST).changed


def test_a_vf_used_by_the_host_is_not_assigned(world: VfWorld) -> None:
    """One that has an address."""
    world.driver.ensure_count(ADAPTER, 1)
    world.host_takes(0)
    assert vf(world, 0).use == "host"
    with pytest.raises(BusyError, match="is in use, by the host's own network device "):
        world.driver.ensure(VfSpec(ADAPTER, 1, 0, MAC))
    world.host_releases(0)
    assert world.driver.ensure(VfSpec(ADAPTER, 1, 0, MAC)).change.changed


def test_a_vf_in_a_network_namespace_is_not_assigned(world: VfWorld) -> None:
    """Its network device is out of sight."""
    world.driver.ensure_count(ADAPTER, 2)
    world.host_hides(1)
    assert [one.use for one in vfs(world)] == ["free", "host"]
    refused(BusyError, "is in use, by a network namespace of this host", world.driver.ensure, SECOND)
    assert world.driver.ensure(FIRST).change.changed


def test_unsuitable_adapters(world: VfWorld) -> None:
    """Missing, without SR-IOV, down, with too few VFs."""
    for device, message in (
        ("eth77", "this host has no network adapter eth77"),
        (PLAIN_ADAPTER, f"{PLAIN_ADAPTER} of this host has no virtual functions"),
    ):
        assert message in world.driver.read(device).problem
        refused(StateError, message, world.driver.ensure_count, device, 1)
        refused(StateError, message, world.driver.ensure, VfSpec(device, 1, 0, MAC))
        assert not world.driver.ensure_free(VfSpec(device, 1, 0, MAC)).changed
    refused(StateError, "has at most 7 virtual functions, not 8", world.driver.ensure_count, ADAPTER, 8)
    world.set_up(False)
    with pytest.raises(StateError, match=f"{ADAPTER} of this host is down: `ip link set {ADAPTER} up`"):
        world.driver.ensure_count(ADAPTER, 1)
    assert vfs(world) == ()


def test_a_missing_vf(world: VfWorld) -> None:
    """It is not created: that would remove the VFs of other guests."""
    world.driver.ensure_count(ADAPTER, 1)
    with pytest.raises(BusyError, match=f"{ADAPTER} of this host has no virtual function 1 now; try again"):
        world.driver.ensure(SECOND)


@pytest.mark.parametrize(
    "spec",
    [
        VfSpec("../net", 1, 0, MAC),
        VfSpec("a" * 16, 1, 0, MAC),
        VfSpec(ADAPTER, 1, 1, MAC),
        VfSpec(ADAPTER, 1, -1, MAC),
        VfSpec(ADAPTER, 0, 0, MAC),
        VfSpec(ADAPTER, 257, 0, MAC),
        VfSpec(ADAPTER, 1, 0, NO_MAC),
        VfSpec(ADAPTER, 1, 0, "01:00:5e:00:00:01"),
        VfSpec(ADAPTER, 1, 0, "52:54:0:aa:0:1"),
        VfSpec(ADAPTER, 1, 0, MAC, vlan=4095),
        VfSpec(ADAPTER, 1, 0, MAC, vlan=-1),
    ],
)
def test_invalid_specs(world: VfWorld, spec: VfSpec) -> None:
    """Refused before the kernel is asked anything."""
    refused(UserError, "", world.driver.ensure, spec)
    refused(UserError, "", world.driver.ensure_free, spec)


def test_an_adapter_that_cannot_check_sources() -> None:
    """The refusal names the option that does without; the lab's igb takes every setting."""
    fake = FakeVfs()
    fake.add(ADAPTER)
    fake.ensure_count(ADAPTER, 1)
    fake.refused.append("spoofchk")
    with pytest.raises(
        ToolError, match="did not set the check of source addresses of its virtual function 0: .*sriov-no"
    ):
        fake.ensure(VfSpec(ADAPTER, 1, 0, MAC, checks_source=False))
