"""Devices in the libvirt domain of a virtual machine besides disks and interfaces, as lines of XML. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count

from lxml import etree

from rocks.fleet.wire.consoles import console_log
from rocks.inventory.records import VirtualMachine
from rocks.machine.domain.elements import element, lines_of
from rocks.machine.placement.shapes import Placement

AGENT_CHANNEL = "org.qemu.guest_agent.0"
"""The name by which QEMU's guest agent finds its channel."""


def other_devices(vm: VirtualMachine, placement: Placement | None) -> list[str]:
    """PCI devices of the host, random numbers, the guest agent's channel and a watchdog.

    What the site's own XML has of the last three is not there twice.
    """
    own = _raw_devices(vm.host.attributes)
    text = "\n".join(own)
    lines = [line for address in (placement or Placement()).devices for line in lines_of(_pci(address), 4)]
    lines += own
    if "<rng" not in text:
        backend = element("backend", {"model": "random"}, text="/dev/urandom")
        lines += lines_of(element("rng", {"model": "virtio"}, backend), 4)
    if AGENT_CHANNEL not in text:
        target = element("target", {"type": "virtio", "name": AGENT_CHANNEL})
        lines += lines_of(element("channel", {"type": "unix"}, target), 4)
    action = vm.host.attribute("kvm_watchdog")
    if action and "<watchdog" not in text:
        lines += lines_of(element("watchdog", {"model": "i6300esb", "action": action}), 4)
    return [*lines, *_terminals(vm.uuid or vm.name)]


def _pci(address: str) -> etree._Element:
    domain, bus, rest = address.split(":")
    slot, _, function = rest.partition(".")
    place = {"domain": f"0x{domain}", "bus": f"0x{bus}", "slot": f"0x{slot}", "function": f"0x{function}"}
    source = element("source", {}, element("address", place))
    return element("hostdev", {"mode": "subsystem", "type": "pci", "managed": "yes"}, source)


def _raw_devices(attributes: Mapping[str, str]) -> list[str]:
    named = {name.lower(): value for name, value in attributes.items()}
    lines: list[str] = []
    for number in count():
        device = named.get(f"kvm_device_{number}")
        if not device:
            break
        lines += device.split("\n")
    return lines


def _terminals(machine: str) -> list[str]:
    # a restore of a saved machine begins a new process of QEMU, before which virtlogd would empty the log
    log = element("log", {"file": console_log(machine), "append": "on"})
    serial = element("serial", {"type": "pty"}, log, element("target", {"port": "0"}))
    target = element("target", {"type": "serial", "port": "0"})
    console = element("console", {"type": "pty", "tty": "/dev/pts/0"}, target)
    # a socket in libvirt's folder of the domain; on the loopback every user of the host would reach the screen
    graphics = element("graphics", {"type": "vnc", "keymap": "en-us"}, element("listen", {"type": "socket"}))
    return [*lines_of(serial, 4), *lines_of(graphics, 4), *lines_of(console, 4)]
