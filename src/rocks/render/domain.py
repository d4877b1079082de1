"""The libvirt domain of a virtual machine, as lines of XML. Pure. Source: specification §5.8.

lxml escapes the text that users enter; only the attributes that are XML by definition (features, devices, pinning,
inner CPU elements) are inserted unchanged. Each line has one tag or one short element.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from string import ascii_lowercase

from lxml import etree

from rocks.cluster.filter_plan import FilterPlan
from rocks.cluster.guest_images import seed_path
from rocks.cluster.guest_media import boots_cd_last
from rocks.cluster.mac_pool import full_mac
from rocks.cluster.records import BootAction, Disk, VirtualMachine
from rocks.cluster.vm_network import Bridged, Connection, Direct, Tap, VirtualFunction
from rocks.errors import StateError, UserError
from rocks.units import KIB_PER_MB
from rocks.wire.consoles import console_log

EMULATOR = "/usr/bin/qemu-system-x86_64"
"""The emulator's path on Debian; other hosts replace it (`agent.operations`)."""

LEASE_NAMESPACE = "urn:rocks:lease"
NVRAM_FOLDER = "/var/lib/libvirt/qemu/nvram"
"""libvirt's own folder for the variables of UEFI."""

_NAMESPACES = {"rocks": LEASE_NAMESPACE}
IDE_DEVICES = ("hda", "hdb", "hdc", "hdd")
VIRT_TYPE = "hvm"
BLOCK_DRIVER = {
    "name": "qemu",
    "type": "raw",
    "cache": "none",
    "error_policy": "stop",
    "rerror_policy": "stop",
}
"""For a block device, which may be on a NAS: an I/O error pauses the guest instead of corrupting its file system, and
no acknowledged write stays in the host's memory only."""

DRIVER_TYPES = {"file": "raw", "tap:aio": "raw", "qcow2": "qcow2", "qed": "qed"}

_SERIES = re.compile("xvd|[vsh]d")
_TAG = re.compile(r"<[^<>]*>")
_VALUE = re.compile(r'="([^"]*)"')

Filter = Callable[[list[str]], list[str]]
"""A roll's change to a block of lines."""

FILTER_NAMES = ("bootloader", "cpumem", "interface", "disk", "device", "global")


@dataclass(frozen=True)
class InstallBoot:
    """The start of a virtual frontend's installer: a boot action, and kernel arguments for the network."""

    action: BootAction
    ip: str = ""
    netmask: str = ""
    dns: str = ""
    gateway: str = ""
    mac: str = ""

    def command_line(self, is_frontend: bool) -> str:
        """The kernel's arguments; for a frontend, with the address of its public interface at the end."""
        arguments = self.action.arguments or ""
        if not is_frontend:
            return arguments
        if self.mac:
            arguments = arguments.replace("ksdevice=eth1", f"ksdevice={self.mac}")
        values = (("ip", self.ip), ("netmask", self.netmask), ("dns", self.dns), ("gateway", self.gateway))
        return arguments + "".join(f" {name}={value} " for name, value in values if value)


def domain_lines(
    vm: VirtualMachine,
    connections: Sequence[Connection],
    install: InstallBoot | None = None,
    filters: Mapping[str, Filter] | None = None,
) -> list[str]:
    """The whole document; `install` starts an installer instead of the disk.

    `filters` can replace the six blocks of `FILTER_NAMES`. UserError for a disk of an unknown type.
    """
    change = filters or {}

    def block(name: str, lines: list[str]) -> list[str]:
        return change[name](lines) if name in change else lines

    devices = [
        "  <devices>",
        *_lines(_element("emulator", text=EMULATOR), 4),
        *block("interface", _interfaces(connections)),
        *block("disk", _disks(vm)),
        *_raw_devices(vm.host.attributes),
        *_terminals(vm.uuid or vm.name),
        "  </devices>",
    ]
    document = [
        "<domain type='kvm'>",
        *_lines(_element("name", text=vm.name), 2),
        *block("bootloader", _os(vm, install)),
        *block("cpumem", _cpu_and_memory(vm)),
        *block("device", devices),
        "</domain>",
    ]
    return block("global", document)


def with_lease(lines: Sequence[str], token: int, network: FilterPlan | None = None, uuid: str = "") -> str:
    """The document with the lease's token and the filters of its interfaces in the metadata, and the machine's UUID.

    StateError when it is not well-formed XML.
    """
    parser = etree.XMLParser(resolve_entities=False, no_network=True)
    try:
        domain = etree.fromstring("\n".join(lines).encode(), parser)
    except etree.XMLSyntaxError as error:
        raise StateError(
            f"the domain document is not well-formed XML: {error}; check the attributes and plugins that add "
            "XML to it (rocks report host vm config)"
        ) from None
    if uuid:
        _set_uuid(domain, uuid)
        _set_nvram(domain, uuid)
    metadata = domain.find("metadata")
    if metadata is None:
        metadata = etree.SubElement(domain, "metadata")
    # a document from libvirt has the lease of an earlier start
    for old in metadata.findall(f"{{{LEASE_NAMESPACE}}}*"):
        metadata.remove(old)
    lease = etree.SubElement(metadata, _ours("lease"), {"token": str(token)}, nsmap=_NAMESPACES)
    if network is not None:
        _add_network(lease, network)
    return etree.tostring(domain, encoding="unicode")


def _set_uuid(domain: etree._Element, uuid: str) -> None:
    """The guest's UUID stays the same in its firmware, and libvirt's own is not made up anew at each definition."""
    element = domain.find("uuid")
    if element is None:
        element = etree.Element("uuid")
        domain.insert(1, element)
    element.text = uuid


def _set_nvram(domain: etree._Element, uuid: str) -> None:
    """UEFI's variables in a file of the machine's own: libvirt names it after the domain, and keeps it at a stop."""
    system = domain.find("os")
    if system is None:
        return
    loader, nvram = system.find("loader"), system.find("nvram")
    if system.get("firmware") != "efi" and (loader is None or loader.get("type") != "pflash"):
        return
    if nvram is None:
        nvram = etree.SubElement(system, "nvram")
    if not (nvram.text or "").strip() and nvram.find("source") is None:
        nvram.text = f"{NVRAM_FOLDER}/{uuid}_VARS.fd"


def _add_network(lease: etree._Element, network: FilterPlan) -> None:
    """The filters, for `devices.libvirt.domain_xml` on the host: the hook needs them before the guest runs.

    Inside the lease: of several elements of one namespace in the metadata, libvirt 9.0 keeps the first.
    """
    attributes = {"filter": "on" if network.is_on else "off"}
    element = etree.SubElement(lease, _ours("network"), attributes)
    for sender in network.senders:
        attributes = {"mac": full_mac(sender.mac), "side": "shared" if sender.is_shared else "own"}
        if sender.is_shared:
            attributes |= {"ipv4": " ".join(sender.ipv4), "ipv6": " ".join(sender.ipv6)}
        etree.SubElement(element, _ours("sender"), attributes)


def _ours(tag: str) -> str:
    return f"{{{LEASE_NAMESPACE}}}{tag}"


def _os(vm: VirtualMachine, install: InstallBoot | None) -> list[str]:
    kind = _element("type", {"arch": "x86_64", "machine": "pc"}, text=VIRT_TYPE)
    if install is not None:
        files = (
            ("kernel", install.action.kernel),
            ("initrd", install.action.ramdisk),
            ("cmdline", install.command_line(vm.host.appliance.lower() == "frontend")),
        )
        # libvirt's schema allows no empty file names
        os = _element("os", {}, kind, *(_element(tag, text=text) for tag, text in files if text))
        return [*_lines(os, 2), "  <on_reboot>destroy</on_reboot>"]
    has_cd, is_last = bool(vm.cdrom_path), boots_cd_last(vm)
    order = ["cdrom"] * (has_cd and not is_last)
    if vm.host.attribute("kvm_netboot", "yes").lower() not in ("no", "n", "false", "off", "0"):
        order.append("network")
    order += ["hd", *["cdrom"] * (has_cd and is_last)]
    boot = [_element("boot", {"dev": device}) for device in order]
    return _lines(_element("os", {}, kind, *boot, _element("bootmenu", {"enable": "yes"})), 2)


def _cpu_and_memory(vm: VirtualMachine) -> list[str]:
    lines = _lines(_element("memory", text=str(vm.memory_mb * KIB_PER_MB)), 2)
    lines += _lines(_element("vcpu", text=str(vm.host.cpus)), 2)
    mode, _, inner = vm.host.attribute("cpu_mode").partition(":")
    if mode:
        opening = _lines(_element("cpu", {"mode": mode}), 2)[0]
        lines += (
            [opening] if not inner else [opening.removesuffix("/>") + ">", *inner.split("\n"), "  </cpu>"]
        )
    pinning = vm.host.attribute("kvm_cpu_pinning")
    if pinning == "pin_all":
        pins = [_element("vcpupin", {"vcpu": str(i), "cpuset": str(i)}) for i in range(vm.host.cpus)]
        lines += _lines(_element("cputune", {}, *pins), 2)
    elif pinning:
        lines += ["  <cputune>", *pinning.split("\n"), "  </cputune>"]
    if vm.virt_type == VIRT_TYPE:
        default = "    <acpi/>\n    <apic/>\n    <pae/>"
        features = vm.host.attribute("HVM_Features") or default
        lines += ["  <features>", *features.split("\n"), "  </features>"]
    return lines


def _interfaces(connections: Sequence[Connection]) -> list[str]:
    lines: list[str] = []
    for connection in connections:
        if isinstance(connection, Tap | Direct):
            kind, source = "direct", {"dev": connection.device, "mode": "bridge"}
            model = _element("model", {"type": "virtio"})
        elif isinstance(connection, Bridged):
            kind, source = "bridge", {"bridge": connection.bridge}
            model = _element("model", {"type": "virtio"})
            if connection.is_open_vswitch:
                model = _element("virtualport", {"type": "openvswitch"})
        elif isinstance(connection, VirtualFunction):
            lines += _lines(_function(connection), 4)
            continue
        else:
            continue
        mac = _element("mac", {"address": full_mac(connection.mac)})
        lines += _lines(_element("interface", {"type": kind}, _element("source", source), mac, model), 4)
    return lines


def _function(connection: VirtualFunction) -> etree._Element:
    """A placeholder, which the schema requires; the agent inserts the VF's PCI address, which only the host knows."""
    address = {"type": "pci", **dict.fromkeys(("domain", "bus", "slot", "function"), "0x0")}
    interface = _element(
        "interface",
        {"type": "hostdev", "managed": "yes"},
        _element("source", {}, _element("address", address)),
        _element("mac", {"address": full_mac(connection.mac)}),
    )
    if connection.vlan:
        interface.append(_element("vlan", {}, _element("tag", {"id": str(connection.vlan)})))
    return interface


def _disks(vm: VirtualMachine) -> list[str]:
    hints = {disk.device for disk in vm.disks}
    taken: set[str] = set()
    ide_letters: set[str] = set()
    lines: list[str] = []
    for disk in vm.disks:
        target = disk.device if disk.device not in taken else _free_target(disk.device, taken | hints)
        taken.add(target)
        lines += _lines(_disk(disk, target), 4)
        if disk.bus == "ide":
            ide_letters.add(target[-1])  # libvirt maps sda on the IDE bus to the place of hda
    if vm.cdrom_path:
        free = (name for name in IDE_DEVICES if name not in taken and name[-1] not in ide_letters)
        device = next(free, None)
        if device is None:
            raise UserError(f"{vm.name} has no free IDE device for its cdrom; move a disk to another bus")
        lines += _lines(_cdrom(vm.cdrom_path, device), 4)
    seed = seed_path(vm)
    if seed is not None:
        lines += _lines(_seed(seed, _free_target("vda", taken | hints)), 4)
    return lines


def _disk(disk: Disk, target: str) -> etree._Element:
    bus = "virtio" if disk.bus == "w" else disk.bus
    if disk.is_block:
        driver, source, kind = BLOCK_DRIVER, {"dev": disk.path}, "block"
    elif disk.type in DRIVER_TYPES:
        driver, source, kind = {"name": "qemu", "type": DRIVER_TYPES[disk.type]}, {"file": disk.path}, "file"
    else:
        raise UserError("Disk type is not valid. Please see rocks help add host vm.")
    return _element(
        "disk",
        {"type": kind, "device": "disk"},
        _element("driver", driver),
        _element("source", source),
        _element("target", {"dev": target, "bus": bus}),
    )


def _seed(path: str, target: str) -> etree._Element:
    """The disk that cloud-init reads; as a disk of virtio, since kernels for clouds have no AHCI."""
    return _element(
        "disk",
        {"type": "file", "device": "disk"},
        _element("driver", {"name": "qemu", "type": "raw"}),
        _element("source", {"file": path}),
        _element("target", {"dev": target, "bus": "virtio"}),
        _element("readonly"),
    )


def _cdrom(path: str, device: str) -> etree._Element:
    is_block = path.startswith("/dev/")
    return _element(
        "disk",
        {"type": "block" if is_block else "file", "device": "cdrom"},
        _element("driver", {"name": "qemu", "type": "raw"}),
        _element("source", {"dev" if is_block else "file": path}),
        _element("target", {"dev": device, "bus": "ide"}),
        _element("readonly"),
    )


def _free_target(device: str, taken: set[str]) -> str:
    """Unique targets: disks in the database may have the same device, but libvirt requires each target once."""
    match = _SERIES.match(device)
    series = match.group() if match else device[:-1]
    letters = [*ascii_lowercase, *(one + other for one in ascii_lowercase for other in ascii_lowercase)]
    free = (series + letter for letter in letters if series + letter not in taken)
    target: str | None = next(free, None)
    if target is None:
        raise UserError(f"too many disks have the device {device}; change it for some of them")
    return target


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
    log = _element("log", {"file": console_log(machine)})
    serial = _element("serial", {"type": "pty"}, log, _element("target", {"port": "0"}))
    target = _element("target", {"type": "serial", "port": "0"})
    console = _element("console", {"type": "pty", "tty": "/dev/pts/0"}, target)
    # a socket in libvirt's folder of the domain; on the loopback every user of the host would reach the screen
    graphics = _element(
        "graphics", {"type": "vnc", "keymap": "en-us"}, _element("listen", {"type": "socket"})
    )
    return [*_lines(serial, 4), *_lines(graphics, 4), *_lines(console, 4)]


def _element(
    tag: str, attributes: Mapping[str, str] | None = None, *children: etree._Element, text: str = ""
) -> etree._Element:
    try:
        element = etree.Element(tag, dict(attributes or {}))
        element.extend(children)
        element.text = text or None
    except ValueError:
        escaped = " ".join([text, *(attributes or {}).values()]).encode("unicode_escape").decode()
        raise UserError(f"the {tag} of a domain cannot contain control characters: {escaped}") from None
    return element


def _lines(element: etree._Element, indentation: int) -> list[str]:
    etree.indent(element, "  ")
    text: str = _TAG.sub(_single_quoted, etree.tostring(element, encoding="unicode"))
    return [" " * indentation + line for line in text.split("\n")]


def _single_quoted(tag: re.Match[str]) -> str:
    # line-oriented scripts of sites expect these quotes; within a tag, lxml escapes every other < > and "
    return _VALUE.sub(lambda value: "='" + value.group(1).replace("'", "&apos;") + "'", tag.group())
