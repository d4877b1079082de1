"""Two clusters on two hosts with the same private addresses, and a public network; frames that their guests send."""

import json
import struct
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lab.machines.frontend import put_counting_guest
from lab.machines.lab import together
from lab.machines.machine import LabMachine
from lab.machines.sample_cluster import VLAN, disk_of
from tests.contract.network.packet_filter import frames
from tests.lab import guest_frames
from tests.lab.lab_site import LabSite

SUBJECTS = ("src/rocks/network/host",)

HOSTS = ("vmh1", "vmh2")
PLACES = {"vc1": "vmh1", "vm-vc2-0": "vmh1", "vc2": "vmh2", "vm-vc1-1": "vmh2"}
"""The guests that run: each host has one of each cluster."""

AUTOSTARTED = "vm-vc1-1"
"""The guest that its host starts by itself."""
OTHER_VLAN, PUBLIC_VLAN = 200, 5
PUBLIC_IPS = {"vc1": "203.0.113.9", "vc2": "203.0.113.10"}
_PRIVATE_IP = "10.1.1.10"
_TOOL = "/root/guest_frames.py"
_ATTEMPTS = 40
_RECORD = struct.Struct("<IIII")

Audiences = dict[str, set[tuple[str, str]]]
"""Mark → (host, device) to which a frame with it came."""


class Port(NamedTuple):
    """An interface of a guest: what its host has of it, and the network that it is on."""

    vm: str
    interface: str
    host: str
    device: str
    mac: str
    vlan: int

    @property
    def is_shared(self) -> bool:
        """Whether others than its cluster are on its network."""
        return self.vlan == PUBLIC_VLAN

    @property
    def name(self) -> str:
        """How its frames are marked."""
        return f"{self.vm}.{self.interface}"


def set_up(site: LabSite) -> None:
    """The second cluster, the public network, disks; one compute starts with its host. Nothing is started."""
    for host in HOSTS:
        make_public_device(site.lab[host])
    for arguments in (
        "set attr vm_vlan_pool 200-201",
        "add host interface vmh1 pub0 subnet=public",
        "set host interface options vmh1 pub0 macvtap",
        "add host interface vmh2 br5 subnet=public",
        f"add cluster {PUBLIC_IPS['vc2']} 1 fe-name=vc2 cluster-naming=yes fe-container=vmh2 subnet=trunk "
        "mem-per-compute=64 disk-per-compute=1 disk-per-frontend=1 container-hosts=vmh1",
        "set host vm vc1 mem=64",
        "set host vm vc2 mem=64",
        "set host boot vc1 action=os",
        "set host boot vc2 action=os",
        f"set host attr {AUTOSTARTED} kvm_autostart true",
    ):
        site.done(*(word.replace(",", " ") for word in arguments.split(" ")))

    def prepare(machine: LabMachine) -> None:
        for guest in (name for name, host in PLACES.items() if host == machine.name):
            put_counting_guest(machine, site.lab.counting_guest, disk_of(guest))
        machine.copy_in(Path(guest_frames.__file__), _TOOL)
        machine.run(["sync"])

    together(prepare, [site.lab[host] for host in HOSTS])
    for guest, host in PLACES.items():
        site.done("set", "host", "image", host, disk_of(guest), f"vm={guest}")


def make_public_device(machine: LabMachine) -> None:
    """The site's own device for the public network: bare on one host, a bridge on the other."""
    machine.shell(
        f"ip link add link trunk0 name pub0 type vlan id {PUBLIC_VLAN}\nip link set pub0 up\n"
        "[ $(hostname) = vmh2 ] || exit 0\n"
        "ip link add br5 type bridge stp_state 0 forward_delay 0\n"
        "ip link set pub0 master br5\nip link set br5 up\n"
    )


def ports(site: LabSite, *guests: str) -> list[Port]:
    """The interfaces of guests that run, as `rocks list host vm network` has them; all filtered and up."""
    found = []
    for name, one in rows(site, *guests).items():
        assert (one["state"], one["filter"]) == ("up", "on"), one
        vm, _, interface = name.partition(".")
        vlan = int(one["vlan"] or PUBLIC_VLAN)
        found.append(Port(vm, interface, one["host"], one["device"], one["mac"], vlan))
    return found


def rows(site: LabSite, *guests: str) -> dict[str, dict[str, Any]]:
    """Guest and interface → its row. A listing waits 5 s for a host, which emulated ones may need; it is repeated."""
    arguments = ("list", "host", "vm", "network", *guests, "json=yes")
    answer = next((a for a in (site.rocks(*arguments) for _ in range(_ATTEMPTS)) if a.exit_status == 0), None)
    assert answer is not None, f"hosts do not answer `rocks {' '.join(arguments)}`"
    return {f"{vm['vm-host']}.{one['iface']}": one for vm in json.loads(answer.text) for one in vm["network"]}


def allowed(port: Port) -> dict[str, bytes]:
    """Frames that a guest may send, by kind; all go to everybody."""
    ip = PUBLIC_IPS.get(port.vm, _PRIVATE_IP) if port.is_shared else _PRIVATE_IP
    kinds = {
        "ipv4": frames.ipv4(ip, frames.udp(1000, 2000)),
        "arp": frames.arp(ip, _PRIVATE_IP, sender_mac=port.mac),
    }
    if not port.is_shared:
        kinds["dhcp-answer-to-its-own"] = frames.ipv4(_PRIVATE_IP, frames.udp(67, 68))
    return _marked(port, {kind: _from(port.mac, frame) for kind, frame in kinds.items()})


def forbidden(port: Port) -> dict[str, bytes]:
    """Frames that no guest may send from there."""
    plain = _from(port.mac, frames.ipv4(_PRIVATE_IP, frames.udp(1000, 2000)))
    kinds = {
        "forged-mac": _from("02:00:00:00:be:ef", plain),
        "stp": _from(port.mac, frames.ethernet(38, bytes(38), target="01:80:c2:00:00:00")),
        "qinq": frames.tagged(plain, OTHER_VLAN, 0x88A8),
    }
    for vlan in (VLAN, OTHER_VLAN, PUBLIC_VLAN):
        kinds[f"tag-{vlan}"] = frames.tagged(plain, vlan)
    if port.is_shared:
        others = next(ip for vm, ip in PUBLIC_IPS.items() if vm != port.vm)
        foreign = {
            "others-ipv4": frames.ipv4(others, frames.udp(1000, 2000)),
            "hosts-ipv4": frames.ipv4("203.0.113.1", frames.udp(1000, 2000)),
            "others-arp": frames.arp(others, others, 2, sender_mac=port.mac),
            "dhcp-answer": frames.ipv4(PUBLIC_IPS[port.vm], frames.udp(67, 68)),
            "router-advertisement": frames.ipv6(_link_local(port), frames.icmpv6(134)),
            "dhcpv6-answer": frames.ipv6(_link_local(port), frames.udp(547, 546), 17),
            "neighbour-advertisement": frames.ipv6(_link_local(port), frames.icmpv6(136, frames.OTHER_IPV6)),
        }
        kinds.update({kind: _from(port.mac, frame) for kind, frame in foreign.items()})
    return _marked(port, kinds)


def to_the_host(site: LabSite, port: Port, target: str) -> bytes:
    """A datagram to a host's own MAC and management address, from the guest's VLAN."""
    device = site.lab[target].description
    frame = frames.ipv4("10.9.0.77", frames.udp(1000, 9999, b"frame:to-the-host"), target=device.trunk_mac)
    ip = bytes(int(part) for part in device.address.split("."))
    packet = bytearray(_from(port.mac, frame))
    packet[30:34] = ip
    packet[24:26] = b"\0\0"
    total = sum(struct.unpack("!10H", packet[14:34]))
    total = (total & 0xFFFF) + (total >> 16)
    packet[24:26] = struct.pack("!H", 0xFFFF - total)
    return bytes(packet)


class Exchange:
    """Listeners on all hosts and a capture of the trunk, while guests send."""

    def __init__(self, site: LabSite, hosts: Sequence[str] = HOSTS) -> None:
        self._site, self._hosts = site, hosts
        self._notes = self._capture = ""

    def begin(self, number: int) -> None:
        """Start to listen; `number` distinguishes several exchanges of a test."""

        self._notes, self._capture = f"/root/received{number}", f"/root/trunk{number}.pcap"

        def start(machine: LabMachine) -> None:
            machine.start_program(f"listen{number}", ["python3", _TOOL, "listen", "600", self._notes])
            capture = ["tcpdump", "-i", "trunk0", "-U", "-Z", "root", "-w", self._capture]
            machine.start_program(f"capture{number}", capture)
            machine.wait_for(["cat", self._notes], "listening", 60)
            machine.wait_for(["cat", f"/var/log/capture{number}.log"], "listening on", 60)

        together(start, [self._site.lab[host] for host in self._hosts])

    def send(self, port: Port, frames_sent: Iterable[bytes]) -> None:
        """Have the guest behind the port send the frames."""
        lines = "".join(f"{frame.hex()}\n" for frame in frames_sent)
        machine = self._site.lab[port.host]
        machine.write_file("/root/frames", lines.encode())
        machine.shell(f"python3 {_TOOL} send {port.device} </root/frames", 60)

    def received(self) -> Audiences:
        """What came to which devices."""
        time.sleep(1)
        found: Audiences = {}
        for host in self._hosts:
            for line in self._site.lab[host].read_file(self._notes).decode().splitlines()[1:]:
                device, mark = line.split()
                found.setdefault(mark, set()).add((host, device))
        return found

    def captured(self) -> dict[str, set[int]]:
        """Mark → VLAN ids under which the wire of any host carried a frame with it; 0 stands for untagged."""
        found: dict[str, set[int]] = {}
        for host in self._hosts:
            for frame in _packets(self._site.lab[host].read_file(self._capture)):
                before, mark, rest = frame.partition(guest_frames.MARK)
                if mark:
                    is_tagged = frame[12:14] == b"\x81\x00"
                    vlan = int.from_bytes(frame[14:16], "big") & 0xFFF if is_tagged else 0
                    found.setdefault(rest.split(b"\0")[0].decode(), set()).add(vlan)
        return found


def expected_audience(sender: Port, everybody: Sequence[Port]) -> set[tuple[str, str]]:
    """All interfaces of the sender's network but its own."""
    return {(p.host, p.device) for p in everybody if p.vlan == sender.vlan and p != sender}


def guests_among(
    received: Mapping[str, set[tuple[str, str]]], everybody: Sequence[Port]
) -> dict[str, set[tuple[str, str]]]:
    """What came to guests, without the hosts' own devices on the way."""
    devices = {(port.host, port.device) for port in everybody}
    return {mark: places & devices for mark, places in received.items() if places & devices}


def _from(mac: str, frame: bytes) -> bytes:
    return frame[:6] + frames.octets(mac) + frame[12:]


def _marked(port: Port, kinds: Mapping[str, bytes]) -> dict[str, bytes]:
    return {
        f"{port.name}.{kind}": frame + guest_frames.MARK + f"{port.name}.{kind}".encode() + b"\0"
        for kind, frame in kinds.items()
    }


def _link_local(port: Port) -> str:
    from rocks.network.host.packet_filter import link_local

    return link_local(port.mac)


def _packets(capture: bytes) -> Iterable[bytes]:
    place = 24
    while place + _RECORD.size <= len(capture):
        _, _, length, _ = _RECORD.unpack_from(capture, place)
        yield capture[place + _RECORD.size : place + _RECORD.size + length]
        place += _RECORD.size + length
