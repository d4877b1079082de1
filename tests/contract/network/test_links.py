"""Network devices for guests, in memory and in the kernel (a network namespace of the test's own)."""

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import pytest

from rocks.core.errors import RocksError, StateError, UserError
from rocks.fleet.wire.requests import LinkSpec
from rocks.network.host.rules import Link, LinkDriver
from tests.contract.network.threads import OfThread, leave_network
from tests.contract.outcomes import changes_once, refused
from tests.fakes.links import FakeLinks

BRIDGE = LinkSpec("pprivate.7", "local_bridge", None, 7)
VLAN = LinkSpec("ptrunk.7", "vlan", "trunk", 7)


class World(Protocol):
    """A host's network, and what others than we do in it."""

    links: LinkDriver

    def add(self, name: str, *, is_up: bool = True, mtu: int = 1500) -> None: ...  # a network adapter
    def hang_guest_on(self, device: str) -> None: ...  # a guest's macvtap
    def take_guest_off(self, device: str) -> None: ...  # the guest has ended

    def add_vlan(self, name: str, parent: str, vlan: int, *, is_up: bool = True) -> None:
        """A VLAN device of another origin."""

    def setting(self, family: str, device: str, name: str) -> str:
        """How the kernel's own protocols treat a device."""

    def find(self, name: str) -> Link | None: ...  # a device as it is


class FakeWorld:
    def __init__(self) -> None:
        self.fake = FakeLinks()
        self.links: LinkDriver = self.fake

    def add(self, name: str, *, is_up: bool = True, mtu: int = 1500) -> None:
        self.fake.add(name, "veth", is_up=is_up, mtu=mtu)

    def hang_guest_on(self, device: str) -> None:
        self.fake.add("macvtap0", "macvtap", self.fake.links[device])

    def take_guest_off(self, device: str) -> None:
        del self.fake.links["macvtap0"]

    def add_vlan(self, name: str, parent: str, vlan: int, *, is_up: bool = True) -> None:
        self.fake.add(name, "vlan", self.fake.links[parent], is_up=is_up, vlan=vlan)

    def setting(self, family: str, device: str, name: str) -> str:
        pytest.skip("settings of the kernel's own protocols are not kept in memory")

    def find(self, name: str) -> Link | None:
        return self.fake.links.get(name)


class RealWorld:
    """A network namespace."""

    def __init__(self, thread: ThreadPoolExecutor) -> None:
        from pyroute2 import IPRoute

        from rocks.network.host.links import Links

        self._open_route = IPRoute
        self._of_thread = OfThread(thread, Links())
        self.links: LinkDriver = self._of_thread

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

    def add_vlan(self, name: str, parent: str, vlan: int, *, is_up: bool = True) -> None:
        def make(route: Any) -> None:
            number = route.link_lookup(ifname=parent)[0]
            route.link("add", ifname=name, kind="vlan", link=number, vlan_id=vlan)
            if is_up:
                route.link("set", index=route.link_lookup(ifname=name)[0], state="up")

        self._ask(make)

    def setting(self, family: str, device: str, name: str) -> str:
        place = Path(f"/proc/sys/net/{family}/conf/{device}/{name}")
        return self._of_thread.run(place.read_text).strip()

    def find(self, name: str) -> Link | None:
        from rocks.network.host.links import parse_link

        links = self._ask(lambda route: [parse_link(message) for message in route.get_links()])
        return next((link for link in links if link.name == name), None)

    def _ask(self, question: Callable[[Any], Any]) -> Any:
        def ask() -> Any:
            with self._open_route() as route:
                return question(route)

        return self._of_thread.run(ask)


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.system)])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """A host's network without devices of this system."""
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
    changes_once(world.links.ensure, BRIDGE)
    made = world.find("pprivate.7")
    facts = (made.kind, made.parent, made.is_up, made.alias, made.mtu)
    assert facts == ("bridge", None, True, "rocks:7", 1500)


def test_the_mtu_is_set(world: World) -> None:
    """Of a device that is there already, too."""
    assert world.links.ensure(BRIDGE).changed
    large = LinkSpec("pprivate.7", "local_bridge", None, 7, 9000)
    changes_once(world.links.ensure, large)
    assert world.find("pprivate.7").mtu == 9000


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
    """A device without our mark is never taken or removed, nor one with the mark of another VLAN."""
    world.add("eth7")
    taken = LinkSpec("eth7", "local_bridge", None, 7)
    refused(StateError, "exists on this host and is a device of kind veth", world.links.ensure, taken)
    assert not world.links.remove_if_unused(taken).changed
    assert world.find("eth7") is not None
    world.links.ensure(BRIDGE)
    other = LinkSpec("pprivate.7", "local_bridge", None, 8)
    assert not world.links.remove_if_unused(other).changed
    with pytest.raises(
        StateError, match=r"pprivate\.7 exists on this host and is a bridge, but has the alias 'rocks:7'"
    ):
        world.links.ensure(other)


def test_a_parent_that_will_not_do(world: World) -> None:
    """Missing, down, or too small."""
    refused(StateError, r"has no network device trunk, on which ptrunk\.7 belongs", world.links.ensure, VLAN)
    world.add("trunk", is_up=False)
    refused(StateError, "trunk of this host is down: `ip link set trunk up`", world.links.ensure, VLAN)
    world.add("eth5", mtu=1500)
    with pytest.raises(StateError, match="requires an MTU of 9000, but eth5 below it has 1500"):
        world.links.ensure(LinkSpec("eth5.7", "vlan", "eth5", 7, 9000))
    assert world.find("ptrunk.7") is None and world.find("eth5.7") is None


@pytest.mark.parametrize(
    "spec",
    [
        LinkSpec("", "local_bridge", None, 7),
        LinkSpec("a" * 16, "local_bridge", None, 7),
        LinkSpec("a/b", "local_bridge", None, 7),
        LinkSpec("a b", "local_bridge", None, 7),
        LinkSpec("..", "local_bridge", None, 7),
        LinkSpec("a", "vlan", "b;c", 7),
        LinkSpec("a", "vlan", None, 7),
        LinkSpec("a", "local_bridge", "b", 7),
        LinkSpec("a", "vlan", "b", 0),
        LinkSpec("a", "vlan", "b", 4095),
    ],
)
def test_invalid_specs(world: World, spec: LinkSpec) -> None:
    """Refused before the kernel is asked anything."""
    refused(UserError, "", world.links.ensure, spec)
    refused(UserError, "", world.links.remove_if_unused, spec)


def test_a_vlan_device(world: World) -> None:
    """Over its parent, with its tag, up and ours; gone with its last guest."""
    need_8021q(world)
    world.add("trunk")
    changes_once(world.links.ensure, VLAN)
    made, parent = world.find("ptrunk.7"), world.find("trunk")
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
    refused(StateError, "is the device of VLAN 7, not 8", world.links.ensure, replace(VLAN, vlan=8))
    other = replace(VLAN, parent="eth5")
    refused(StateError, "is a VLAN device, but not over eth5", world.links.ensure, other)


def test_a_vlan_that_something_else_has(world: World) -> None:
    """Over the same parent; and a device of that name and of another origin."""
    need_8021q(world)
    world.add("trunk")
    world.add_vlan("storage", "trunk", 7)
    with pytest.raises(
        StateError, match="VLAN 7 over trunk is already used on this host by storage, so ptrunk.7 cannot"
    ):
        world.links.ensure(VLAN)
    assert world.find("ptrunk.7") is None
    world.add_vlan("trunk.8", "trunk", 8)
    with pytest.raises(
        StateError, match="trunk.8 exists on this host and is a VLAN device not created by this system"
    ):
        world.links.ensure(LinkSpec("trunk.8", "vlan", "trunk", 8))


def test_one_that_was_cut_off_in_the_making_is_finished(world: World) -> None:
    """It is of the right kind, nameless and down: the kernel takes an alias only afterwards."""
    need_8021q(world)
    world.add("trunk")
    world.add_vlan("ptrunk.7", "trunk", 7, is_up=False)
    assert world.links.ensure(VLAN).changed
    made = world.find("ptrunk.7")
    assert (made.is_up, made.alias) == (True, "rocks:7")


def test_unplanned_devices_are_removed(world: World) -> None:
    """Except planned and used devices and those of another origin; all are listed."""
    world.add("eth7")
    for vlan in (7, 8, 9):
        world.links.ensure(LinkSpec(f"p.{vlan}", "local_bridge", None, vlan))
    world.hang_guest_on("p.9")
    assert world.links.remove_all_but({"p.7"}) == ("p.8",)
    assert {"eth7", "p.7", "p.9"} <= {link.name for link in world.links.list()}
    assert world.find("p.8") is None


def test_devices_of_the_site(world: World) -> None:
    """They must exist, be up, and be bridges where required; they are not changed."""
    bridge, device = LinkSpec("p.7", "site_bridge", None, 0), LinkSpec("eth7", "site_device", None, 0)
    for spec in (bridge, device):
        with pytest.raises(StateError, match=f"no network device {spec.device}, on which the guest belongs"):
            world.links.ensure(spec)
    world.add("eth7", is_up=False)
    refused(StateError, "eth7 of this host is down", world.links.ensure, device)
    world.links.ensure(LinkSpec("p.7", "local_bridge", None, 7))
    world.add("eth8")
    assert not world.links.ensure(bridge).changed
    assert not world.links.ensure(LinkSpec("eth8", "site_device", None, 0)).changed
    with pytest.raises(StateError, match="eth8 of this host is not a bridge"):
        world.links.ensure(LinkSpec("eth8", "site_bridge", None, 0))
    assert not world.links.remove_if_unused(bridge).changed
    refused(UserError, "", world.links.ensure, LinkSpec("eth8", "site_device", "eth7", 0))


def test_the_host_takes_no_part(world: World) -> None:
    """No IPv6, no ARP, no IPv4 that comes in by a device without routes."""
    world.links.ensure(BRIDGE)
    assert world.setting("ipv6", "pprivate.7", "disable_ipv6") == "1"
    for name, value in (("rp_filter", "1"), ("forwarding", "0"), ("arp_ignore", "8")):
        assert world.setting("ipv4", "pprivate.7", name) == value


def test_a_kernel_without_8021q(world: World) -> None:
    """The refusal names the attribute that does without; a kernel that has them makes the device."""
    if isinstance(world, FakeWorld):
        world.fake = FakeLinks(knows_8021q=False)
        world.links = world.fake
    world.add("trunk")
    if world.links.has_8021q():
        assert world.links.ensure(VLAN).changed
        return
    refused(RocksError, "set the host attribute vlan_transport=local", world.links.ensure, VLAN)
    assert world.find("ptrunk.7") is None


@pytest.mark.system
def test_devices_that_change_while_they_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel then reports an interrupted dump, which is repeated."""
    pytest.importorskip("pyroute2", reason="the distribution's pyroute2 is not installed")
    if os.geteuid() != 0:
        pytest.skip("a network namespace is made by root")
    from pyroute2 import IPRoute

    from rocks.network.host import links, netlink

    interrupted = threading.Event()

    class Noticing(IPRoute):  # type: ignore[misc]
        """A socket that records that a list was interrupted."""

        def get_links(self, *given: Any) -> list[Any]:
            try:
                return list(super().get_links(*given))
            except links.NetlinkDumpInterrupted:
                interrupted.set()
                raise

    def churn() -> None:
        with IPRoute() as route:
            while not interrupted.is_set():
                route.link("add", ifname="passing0", kind="bridge")
                route.link("del", index=route.link_lookup(ifname="passing0")[0])

    def look() -> list[bool]:
        with IPRoute() as route:
            for number in range(60):  # a listing of several messages can be interrupted
                route.link("add", ifname=f"still{number}", kind="bridge")
        churner = threading.Thread(target=churn)  # in the namespace of the thread that starts it
        churner.start()
        outcomes = []
        try:
            while not interrupted.is_set():
                outcomes.append(links.Links().ensure(LinkSpec("p.2", "local_bridge", None, 2)).changed)
        finally:
            interrupted.set()
            churner.join()
        return outcomes

    monkeypatch.setattr(netlink, "IPRoute", Noticing)
    with ThreadPoolExecutor(1) as thread:
        thread.submit(leave_network).result()
        first, *others = thread.submit(look).result()
        assert first and not any(others)
