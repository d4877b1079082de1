"""Packet filters on guests' devices, in memory and in a kernel that has them.

On the real one frames go by the character device of a macvtap, as QEMU sends them, and by a tap, whose other side is a
bridge's port; what arrives is seen behind it.
"""

import contextlib
import ctypes
import fcntl
import os
import socket
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

from rocks.core.errors import StateError, ToolError
from rocks.core.process import run_checked
from rocks.network.host.packet_filter import NFT, FilterDriver, Filters, GuestDevice, Sender, rules_for
from tests.contract.network.packet_filter.frames import (
    CASES,
    HOST_IP,
    IP,
    IPV6,
    MAC,
    OTHER_IP,
    arp,
    ipv4,
    udp,
)
from tests.contract.network.threads import OfThread, leave_network
from tests.contract.outcomes import changes_once
from tests.fakes.packet_filters import FakeFilters
from tests.waiting import wait_until

MACVTAP, TAP = GuestDevice("macvtap0", True), GuestDevice("vnet0", False)
OWN, SHARED = Sender(MAC), Sender(MAC, True, (IP,), (IPV6,))
_TUNSETIFF, _IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR = 0x400454CA, 0x0002, 0x1000, 0x4000
_HEADER_BYTES = 10
_LAST = b"\xff" * 6 + bytes(6) + b"\x88\xb5" + b"last"
"""A frame of an ethertype for experiments (IEEE 802), which only this test sends, behind the filters."""


class RealWorld:
    """A network namespace, which belongs to one thread; the wire is a veth pair, and its far end listens."""

    def __init__(self, thread: ThreadPoolExecutor) -> None:
        self._of_thread = OfThread(thread, Filters())
        self._of_thread.run(self._build)
        self._of_thread.run(self._wait_for_the_wire)
        self.filters: FilterDriver = self._of_thread

    def send(self, device: GuestDevice, frames: list[bytes]) -> list[bool]:
        return self._of_thread.run(lambda: self._send(device, frames))

    def chains(self) -> str:
        """What nft lists."""
        return self._of_thread.run(lambda: run_checked([NFT, "list", "chains"], deadline_seconds=20).text)

    def rename(self, device: str, name: str) -> None:
        """Give a device another name."""
        arguments = ["/usr/sbin/ip", "link", "set", device, "down", "name", name]
        self._of_thread.run(lambda: run_checked(arguments, deadline_seconds=20))

    def _build(self) -> None:
        from pyroute2 import IPRoute

        leave_network()
        for table in Path("/proc/sys/net/bridge").glob("bridge-nf-call-*tables"):
            table.write_text("0")
        with IPRoute() as route:

            def number(name: str) -> int:
                return int(route.link_lookup(ifname=name)[0])

            def up(name: str, **arguments: Any) -> None:
                route.link("set", index=number(name), state="up", **arguments)

            up("lo")
            route.addr("add", index=number("lo"), address=HOST_IP, prefixlen=32)
            for wire in ("wire", "port"):
                route.link("add", ifname=wire, kind="veth", peer=f"{wire}-end")
                Path(f"/proc/sys/net/ipv6/conf/{wire}-end/disable_ipv6").write_text("1")
                Path(f"/proc/sys/net/ipv6/conf/{wire}/disable_ipv6").write_text("1")
                up(f"{wire}-end")
                up(wire)
            route.link("add", ifname="macvtap0", kind="macvtap", link=number("wire"), macvtap_mode="bridge")
            up("macvtap0", address=MAC)
            self._guest = self._open_macvtap(number("macvtap0"))
            self._other_guest = _open_tap("vnet0")
            # one that snooped would keep multicast reports to itself
            quiet = {"br_stp_state": 0, "br_forward_delay": 0, "br_mcast_snooping": 0}
            route.link("add", ifname="bridge", kind="bridge", **quiet)
            for name in ("vnet0", "port"):
                up(name, master=number("bridge"))
            up("bridge")
        self._listeners = {"macvtap0": _listener("wire-end"), "vnet0": _listener("port-end")}
        self._behind_filters = {"macvtap0": _sender("wire"), "vnet0": _sender("port")}
        # a veth hands frames over in the order in which one processor sent them
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

    def _wait_for_the_wire(self) -> None:
        """A bridge takes a moment before it forwards."""
        for device in (MACVTAP, TAP):
            wait_until(
                lambda device=device: all(self._send(device, [ipv4(IP, udp(1, 2))])),
                f"no frame of {device.name} comes to the far end",
            )

    def _open_macvtap(self, number: int) -> int:
        place = Path(f"/sys/devices/virtual/net/macvtap0/tap{number}/dev")
        if not place.exists():  # sysfs shows the network namespace of who has mounted it
            _mount_sysfs()
        major, minor = place.read_text().split(":")
        node = Path(f"/dev/guest-tap-{os.getpid()}-{number}")  # /tmp of Debian 13 is mounted without devices
        os.mknod(node, 0o600 | 0o020000, os.makedev(int(major), int(minor)))
        try:
            guest = os.open(node, os.O_RDWR | os.O_NONBLOCK)
        finally:
            node.unlink()
        request = struct.pack("16sH22x", b"", _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR)
        fcntl.ioctl(guest, _TUNSETIFF, request)
        return guest

    def _send(self, device: GuestDevice, frames: list[bytes]) -> list[bool]:
        listener = self._listeners[device.name]
        guest = self._guest if device.is_macvtap else self._other_guest
        _received(listener)
        for frame in frames:
            # macvtap reports some dropped frames to the guest
            with contextlib.suppress(OSError):
                os.write(guest, bytes(_HEADER_BYTES) + frame)
        self._behind_filters[device.name].send(_LAST)
        received: list[bytes] = []
        wait_until(
            lambda: _LAST in received or received.extend(_received(listener)), "the last frame has come"
        )
        return [frame in received for frame in frames]


def _mount_sysfs() -> None:
    library = ctypes.CDLL(None, use_errno=True)
    library.mount(b"none", b"/", None, 0x44000, None)  # private, all of it
    if library.mount(b"sysfs", b"/sys", b"sysfs", 0, None) != 0:
        raise OSError(ctypes.get_errno(), "mount")


def _open_tap(name: str) -> int:
    guest = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    flags = _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR
    fcntl.ioctl(guest, _TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
    return guest


def _listener(device: str) -> socket.socket:
    found = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    found.setsockopt(263, 8, 1)  # SOL_PACKET, PACKET_AUXDATA: reports a removed tag
    found.bind((device, 0))
    found.setblocking(False)
    return found


def _sender(device: str) -> socket.socket:
    found = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    found.bind((device, 0))
    return found


def _received(listener: socket.socket) -> list[bytes]:
    """All frames since the last time, their outer tag put back."""
    frames = []
    while True:
        try:
            frame, control, _, _ = listener.recvmsg(2000, 200)
        except BlockingIOError:
            return frames
        for _, _, data in control:
            status, _, _, _, _, tag, kind = struct.unpack("IIIHHHH", data[:20])
            if status & 0x10:
                frame = frame[:12] + struct.pack("!HH", kind if status & 0x40 else 0x8100, tag) + frame[12:]
        frames.append(frame)


@pytest.fixture
def world() -> Iterator[RealWorld]:
    """A host with two guests' devices, unfiltered."""
    with ThreadPoolExecutor(1) as thread:
        yield RealWorld(thread)


@pytest.fixture(params=("fake", "real"))
def filters(request: pytest.FixtureRequest) -> FilterDriver:
    """Of such a host; in memory no frame is sent."""
    if request.param == "real":
        world: RealWorld = request.getfixturevalue("world")
        return world.filters
    fake = FakeFilters(addresses=(HOST_IP,))
    fake.missing.append("vnet9")
    return fake


def test_what_each_side_lets_through(world: RealWorld) -> None:
    """Every kind of frame, from a macvtap and from a bridge's tap; what is dropped is counted by its reason."""
    for sender, reason_of in ((OWN, attrgetter("on_own_side")), (SHARED, attrgetter("on_shared_side"))):
        for device in (MACVTAP, TAP):
            assert world.filters.ensure(device, rules_for(sender)).changed
            before = dict(world.filters.read([device])[device.name])
            passed = world.send(device, [case.frame for case in CASES])
            got = {case.name: went for case, went in zip(CASES, passed, strict=True)}
            assert got == {case.name: reason_of(case) is None for case in CASES}
            after = dict(world.filters.read([device])[device.name])
            expected = {reason: sum(reason_of(case) == reason for case in CASES) for reason in after}
            assert {reason: after[reason] - before[reason] for reason in after} == expected


def test_without_a_filter_all_go_through(world: RealWorld) -> None:
    """So it is the filter that drops, and not the world; a bridge passes no frame from a group, though."""
    expected = [case for case in CASES if case.on_own_side in ("mac", "tagged")]
    frames = [case.frame for case in expected if case.name != "group address as MAC"]
    for device in (MACVTAP, TAP):
        assert all(world.send(device, frames))


def test_unknown_addresses_are_any_but_the_hosts(world: RealWorld) -> None:
    """Without a known address of the guest."""
    assert world.filters.addresses() == (HOST_IP,)
    world.filters.ensure(MACVTAP, rules_for(Sender(MAC, True, foreign=world.filters.addresses())))
    frames = [ipv4(OTHER_IP, udp(1, 2)), arp(OTHER_IP, IP), ipv4(HOST_IP, udp(1, 2)), arp(HOST_IP, IP)]
    assert world.send(MACVTAP, frames) == [True, True, False, False]


def test_the_same_again_changes_nothing(filters: FilterDriver) -> None:
    """Other rules take the place of those that are there, and counting goes on only where a rule stays."""
    changes_once(filters.ensure, MACVTAP, rules_for(SHARED))
    assert [reason for reason, _ in filters.read([MACVTAP])["macvtap0"]][-1] == "neighbour"
    assert filters.ensure(MACVTAP, rules_for(OWN)).changed
    assert filters.read([MACVTAP, TAP]) == {
        "macvtap0": (("tagged", 0), ("mac", 0), ("control", 0)),
        "vnet0": (),
    }


def test_a_device_that_is_not_there(filters: FilterDriver) -> None:
    """`ensure` raises an error, `read` omits the device."""
    with pytest.raises(StateError, match="has no network device vnet9"):
        filters.ensure(GuestDevice("vnet9", False), rules_for(OWN))
    assert filters.read([GuestDevice("vnet9", False)]) == {}


def test_whether_the_kernel_has_filters(filters: FilterDriver) -> None:
    """It is asked without leaving anything, and may be asked again."""
    assert filters.works() and filters.works()


def test_no_beginning_of_a_dropped_frame_passes(world: RealWorld) -> None:
    """Cut anywhere behind the Ethernet header: what a rule cannot read is not let through."""
    world.filters.ensure(MACVTAP, rules_for(SHARED))
    dropped = [case for case in CASES if case.on_shared_side is not None]
    frames = [case.frame[:length] for case in dropped for length in range(14, len(case.frame), 5)]
    passed = world.send(MACVTAP, frames)
    assert [frame.hex() for frame, went in zip(frames, passed, strict=True) if went] == []


def test_rules_of_a_device_that_is_gone_do_not_stay(world: RealWorld) -> None:
    """Its name may be given to another device, whose guest is not filtered."""
    for device in (MACVTAP, TAP):
        world.filters.ensure(device, rules_for(OWN))
    assert world.filters.ensure(TAP, ()).changed
    assert world.filters.read([TAP]) == {"vnet0": ()}
    world.rename("macvtap0", "macvtap7")
    assert world.filters.ensure(TAP, rules_for(SHARED)).changed
    assert "macvtap0" not in world.chains() and "vnet0" in world.chains()


def test_another_device_with_the_name_of_one_that_is_gone(world: RealWorld) -> None:
    """The kernel keeps the chain, but on the side of the device before."""
    world.filters.ensure(MACVTAP, rules_for(OWN))
    world.rename("macvtap0", "macvtap7")
    world.rename("vnet0", "macvtap0")
    other = GuestDevice("macvtap0", is_macvtap=False)
    changes_once(world.filters.ensure, other, rules_for(OWN))
    assert "hook ingress" in world.chains() and "hook egress" not in world.chains()


def test_a_list_that_does_not_come_is_not_an_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging = tmp_path / "nft"
    hanging.write_text("#!/bin/sh\nexec sleep 60\n")
    hanging.chmod(0o755)
    monkeypatch.setattr("rocks.network.host.packet_filter.NFT", str(hanging))
    monkeypatch.setattr("rocks.network.host.packet_filter._DEADLINE_SECONDS", 0.2)
    with pytest.raises(ToolError, match="did not end within"):
        Filters().ensure(TAP, ())
    with pytest.raises(ToolError, match="did not end within"):
        Filters().read([TAP])
