"""Network devices for guests, in memory and in the kernel (a network namespace of the test's own)."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

import pytest

from rocks.devices.change import Change
from rocks.devices.fake.links import FakeLinks
from rocks.devices.link_rules import Link
from rocks.devices.link_steps import LinkSteps
from rocks.errors import RocksError, StateError, UserError
from rocks.wire.agent import LinkWanted

_NEW_NETWORK = 0x40000000
BRIDGE = LinkWanted("pprivate.7", "local_bridge", None, 7)
VLAN = LinkWanted("ptrunk.7", "vlan", "trunk", 7)

Result = TypeVar("Result")


class World(Protocol):
    """A host's network, and what others than we do in it."""

    links: LinkSteps

    def add(self, name: str, *, is_up: bool = True, mtu: int = 1500) -> None:
        """A network adapter."""

    def hang_guest_on(self, device: str) -> None:
        """A guest's macvtap."""

    def take_guest_off(self, device: str) -> None:
        """The guest has ended."""

    def find(self, name: str) -> Link | None:
        """A device as it is."""


class FakeWorld:
    """A network in memory."""

    def __init__(self) -> None:
        self.fake = FakeLinks()
        self.links: LinkSteps = self.fake

    def add(self, name: str, *, is_up: bool = True, mtu: int = 1500) -> None:
        self.fake.add(name, "veth", is_up=is_up, mtu=mtu)

    def hang_guest_on(self, device: str) -> None:
        self.fake.add("macvtap0", "macvtap", self.fake.links[device])

    def take_guest_off(self, device: str) -> None:
        del self.fake.links["macvtap0"]

    def find(self, name: str) -> Link | None:
        return self.fake.links.get(name)


class RealWorld:
    """A network namespace: it belongs to one thread, which does all the work."""

    def __init__(self, thread: ThreadPoolExecutor) -> None:
        from pyroute2 import IPRoute

        from rocks.devices.links import Links

        self._thread = thread
        self._open_route = IPRoute
        self._links = Links()
        self.links: LinkSteps = self

    def run(self, work: Callable[[], Result]) -> Result:
        return self._thread.submit(work).result()

    def ensure(self, wanted: LinkWanted) -> Change:
        return self.run(lambda: self._links.ensure(wanted))

    def remove_if_unused(self, wanted: LinkWanted) -> Change:
        return self.run(lambda: self._links.remove_if_unused(wanted))

    def has_8021q(self) -> bool:
        return self.run(self._links.has_8021q)

    def add(self, name: str, *, is_up: bool = True, mtu: int = 1500) -> None:
        def make(route: Any) -> None:
            route.link("add", ifname=name, kind="veth", peer=f"{name}-peer")
            number = route.link_lookup(ifname=name)[0]
            route.link("set", index=number, mtu=mtu, state="up" if is_up else "down")

        self._ask(make)

    def hang_guest_on(self, device: str) -> None:
        def make(route: Any) -> None:
            number = route.link_lookup(ifname=device)[0]
            route.link("add", ifname="macvtap0", kind="macvtap", link=number, macvtap_mode="bridge")

        self._ask(make)

    def take_guest_off(self, device: str) -> None:
        self._ask(lambda route: route.link("del", ifname="macvtap0"))

    def find(self, name: str) -> Link | None:
        from rocks.devices.links import parse_link

        links = self._ask(lambda route: [parse_link(message) for message in route.get_links()])
        return next((link for link in links if link.name == name), None)

    def _ask(self, question: Callable[[Any], Any]) -> Any:
        def ask() -> Any:
            with self._open_route() as route:
                return question(route)

        return self.run(ask)


def leave_network() -> None:
    """Give the calling thread a network of its own."""
    if ctypes.CDLL(None, use_errno=True).unshare(_NEW_NETWORK) != 0:
        raise OSError(ctypes.get_errno(), "unshare")


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.system)])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """A host's network with nothing of ours in it."""
    if request.param == "fake":
        yield FakeWorld()
        return
    pytest.importorskip("pyroute2", reason="the distribution's pyroute2 is not installed")
    if os.geteuid() != 0:
        pytest.skip("a network namespace is made by root")
    with ThreadPoolExecutor(1) as thread:
        thread.submit(leave_network).result()
        yield RealWorld(thread)


def need_8021q(world: World) -> None:
    """Skip where the kernel has no VLANs."""
    if not world.links.has_8021q():
        pytest.skip("this kernel has no 802.1Q")


def test_a_bridge_of_the_hosts_own(world: World) -> None:
    """Made up, marked as ours, without uplink; the second time nothing changes."""
    assert world.links.ensure(BRIDGE).changed
    assert not world.links.ensure(BRIDGE).changed
    made = world.find("pprivate.7")
    assert made is not None
    assert (made.kind, made.parent, made.is_up, made.alias, made.mtu) == (
        "bridge",
        None,
        True,
        "rocks:7",
        1500,
    )


def test_the_mtu_is_made_as_wanted(world: World) -> None:
    """Of a device that is there already, too."""
    assert world.links.ensure(BRIDGE).changed
    large = LinkWanted("pprivate.7", "local_bridge", None, 7, 9000)
    assert world.links.ensure(large).changed
    assert not world.links.ensure(large).changed
    made = world.find("pprivate.7")
    assert made is not None and made.mtu == 9000


def test_what_is_used_stays(world: World) -> None:
    """A device goes with its last guest, and only once."""
    world.links.ensure(BRIDGE)
    world.hang_guest_on("pprivate.7")
    assert not world.links.remove_if_unused(BRIDGE).changed
    assert world.find("pprivate.7") is not None
    world.take_guest_off("pprivate.7")
    assert world.links.remove_if_unused(BRIDGE).changed
    assert world.find("pprivate.7") is None
    assert not world.links.remove_if_unused(BRIDGE).changed


def test_what_others_made_stays(world: World) -> None:
    """A device without our mark is never removed, nor one with the mark of another VLAN."""
    world.add("eth7")
    assert not world.links.remove_if_unused(LinkWanted("eth7", "local_bridge", None, 7)).changed
    assert world.find("eth7") is not None
    world.links.ensure(BRIDGE)
    other = LinkWanted("pprivate.7", "local_bridge", None, 8)
    assert not world.links.remove_if_unused(other).changed
    with pytest.raises(
        StateError, match=r"pprivate\.7 exists on this host and is a bridge, but known as 'rocks:7'"
    ):
        world.links.ensure(other)


def test_a_name_that_is_taken(world: World) -> None:
    """By a device of another kind."""
    world.add("pprivate.7")
    with pytest.raises(StateError, match="exists on this host and is a device of kind veth"):
        world.links.ensure(BRIDGE)


def test_a_parent_that_will_not_do(world: World) -> None:
    """Missing, down, or too small."""
    with pytest.raises(StateError, match=r"has no network device trunk, on which ptrunk\.7 belongs"):
        world.links.ensure(VLAN)
    world.add("trunk", is_up=False)
    with pytest.raises(StateError, match="trunk of this host is down: `ip link set trunk up`"):
        world.links.ensure(VLAN)
    world.add("eth5", mtu=1500)
    with pytest.raises(StateError, match="is to have an MTU of 9000, but eth5 below it has 1500"):
        world.links.ensure(LinkWanted("eth5.7", "vlan", "eth5", 7, 9000))
    assert world.find("ptrunk.7") is None and world.find("eth5.7") is None


@pytest.mark.parametrize(
    "wanted",
    [
        LinkWanted("", "local_bridge", None, 7),
        LinkWanted("a" * 16, "local_bridge", None, 7),
        LinkWanted("a/b", "local_bridge", None, 7),
        LinkWanted("a b", "local_bridge", None, 7),
        LinkWanted("..", "local_bridge", None, 7),
        LinkWanted("a", "vlan", "b;c", 7),
        LinkWanted("a", "vlan", None, 7),
        LinkWanted("a", "local_bridge", "b", 7),
        LinkWanted("a", "vlan", "b", 0),
        LinkWanted("a", "vlan", "b", 4095),
    ],
)
def test_what_cannot_be(world: World, wanted: LinkWanted) -> None:
    """Refused before the kernel is asked anything."""
    with pytest.raises(UserError):
        world.links.ensure(wanted)
    with pytest.raises(UserError):
        world.links.remove_if_unused(wanted)


def test_a_vlan_device(world: World) -> None:
    """Over its parent, with its tag, up and ours; gone with its last guest."""
    need_8021q(world)
    world.add("trunk")
    assert world.links.ensure(VLAN).changed
    assert not world.links.ensure(VLAN).changed
    made, parent = world.find("ptrunk.7"), world.find("trunk")
    assert made is not None and parent is not None
    assert (made.kind, made.parent, made.vlan, made.is_up) == ("vlan", parent.number, 7, True)
    assert made.alias == "rocks:7"
    world.hang_guest_on("ptrunk.7")
    assert not world.links.remove_if_unused(VLAN).changed
    world.take_guest_off("ptrunk.7")
    assert world.links.remove_if_unused(VLAN).changed
    assert world.find("ptrunk.7") is None


def test_another_vlan_device_of_the_same_name(world: World) -> None:
    """Another tag, or another parent."""
    need_8021q(world)
    world.add("trunk")
    world.add("eth5")
    world.links.ensure(VLAN)
    with pytest.raises(StateError, match="is the device of VLAN 7, not 8"):
        world.links.ensure(LinkWanted("ptrunk.7", "vlan", "trunk", 8))
    with pytest.raises(StateError, match="is a VLAN device, but not over eth5"):
        world.links.ensure(LinkWanted("ptrunk.7", "vlan", "eth5", 7))


def test_a_kernel_without_8021q(world: World) -> None:
    """The refusal names the attribute that does without."""
    if isinstance(world, FakeWorld):
        world.fake = FakeLinks(knows_8021q=False)
        world.links = world.fake
    if world.links.has_8021q():
        pytest.skip("this kernel has 802.1Q")
    world.add("trunk")
    with pytest.raises(RocksError, match="set the host attribute vlan_transport=local"):
        world.links.ensure(VLAN)
    assert world.find("ptrunk.7") is None


@pytest.mark.system
def test_devices_that_come_and_go_while_they_are_listed() -> None:
    """The kernel then says that its listing was interrupted; that is no reason to refuse a guest."""
    pytest.importorskip("pyroute2", reason="the distribution's pyroute2 is not installed")
    if os.geteuid() != 0:
        pytest.skip("a network namespace is made by root")
    from pyroute2 import IPRoute

    from rocks.devices.links import Links

    stop = threading.Event()

    def churn() -> None:
        with IPRoute() as route:
            while not stop.is_set():
                route.link("add", ifname="passing0", kind="bridge")
                route.link("del", index=route.link_lookup(ifname="passing0")[0])

    def look() -> list[bool]:
        with IPRoute() as route:
            for number in range(60):  # a listing of several messages can be interrupted
                route.link("add", ifname=f"still{number}", kind="bridge")
        churner = threading.Thread(target=churn)  # in the namespace of the thread that starts it
        churner.start()
        try:
            outcomes = [Links().ensure(LinkWanted("p.2", "local_bridge", None, 2)).changed for _ in range(60)]
        finally:
            stop.set()
            churner.join()
        return outcomes

    with ThreadPoolExecutor(1) as thread:
        thread.submit(leave_network).result()
        assert thread.submit(look).result() == [True] + [False] * 59
