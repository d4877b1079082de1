"""The libvirt domain of a virtual machine, as lines of XML. Pure. Source: specification §5.8.

lxml escapes the text that users enter; only the attributes that are XML by definition (features, devices, pinning,
inner CPU elements) are inserted unchanged. Each line has one tag or one short element.

Filters of other rolls get these lines, and sites change them with line-oriented tools: neither a tree nor
templates. Only after the filters must the whole be well-formed; the report prints a broken document, too, so
that it can be repaired.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from lxml import etree

from rocks.core.dataclasses import dataclass
from rocks.core.errors import StateError
from rocks.fleet.wire.consoles import nvram_file
from rocks.inventory.mac_pool import full_mac
from rocks.inventory.records import BootAction, VirtualMachine
from rocks.library.guest_media import boots_cd_last, boots_from_network
from rocks.machine.domain.cpus import VIRT_TYPE, cpu_and_memory, with_maxima
from rocks.machine.domain.devices import other_devices
from rocks.machine.domain.disks import disk_lines
from rocks.machine.domain.elements import element, lines_of
from rocks.machine.domain.interfaces import interface_lines
from rocks.machine.placement.placement_attributes import queues_of
from rocks.machine.placement.shapes import Placement
from rocks.network.filter_plan import FilterPlan
from rocks.network.guest_connections import Connection

EMULATOR = "/usr/bin/qemu-system-x86_64"
"""The emulator's path on Debian; other hosts replace it (`machine.host.start`)."""

LEASE_NAMESPACE = "urn:rocks:lease"

_NAMESPACES = {"rocks": LEASE_NAMESPACE}

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
    placement: Placement | None = None,
) -> list[str]:
    """The whole document; `install` starts an installer instead of the disk.

    `filters` can replace the six blocks of `FILTER_NAMES`. `placement`: what a start has leased on the host.
    UserError for a disk of an unknown type, StateError for an attribute that cannot be read.
    """
    change = filters or {}

    def block(name: str, lines: list[str]) -> list[str]:
        return change[name](lines) if name in change else lines

    devices = [
        "  <devices>",
        *lines_of(element("emulator", text=EMULATOR), 4),
        *block("interface", interface_lines(connections, queues_of(vm))),
        *block("disk", disk_lines(vm)),
        *other_devices(vm, placement),
        "  </devices>",
    ]
    document = [
        "<domain type='kvm'>",
        *lines_of(element("name", text=vm.name), 2),
        *block("bootloader", _os(vm, install)),
        *block("cpumem", with_maxima(vm, cpu_and_memory(vm, placement))),
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
        nvram.text = nvram_file(uuid)


def _add_network(lease: etree._Element, network: FilterPlan) -> None:
    """The filters, for `machine.host.libvirt.domain_xml` on the host: the hook needs them before the guest runs.

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
    kind = element("type", {"arch": "x86_64", "machine": "pc"}, text=VIRT_TYPE)
    if install is not None:
        files = (
            ("kernel", install.action.kernel),
            ("initrd", install.action.ramdisk),
            ("cmdline", install.command_line(vm.host.appliance.lower() == "frontend")),
        )
        # libvirt's schema allows no empty file names
        os = element("os", {}, kind, *(element(tag, text=text) for tag, text in files if text))
        return [*lines_of(os, 2), "  <on_reboot>destroy</on_reboot>"]
    has_cd, is_last = bool(vm.cdrom_path), boots_cd_last(vm)
    order = ["cdrom"] * (has_cd and not is_last)
    if boots_from_network(vm):
        order.append("network")
    order += ["hd", *["cdrom"] * (has_cd and is_last)]
    boot = [element("boot", {"dev": device}) for device in order]
    return lines_of(element("os", {}, kind, *boot, element("bootmenu", {"enable": "yes"})), 2)
