"""The libvirt domain of a virtual machine, as lines of XML. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count

from lxml import etree

from rocks.core.dataclasses import dataclass
from rocks.core.errors import StateError, UserError
from rocks.core.values import KIB_PER_MB
from rocks.fleet.wire.requests import console_log, nvram_file
from rocks.inventory.mac_pool import full_mac
from rocks.inventory.records import BootAction, Disk, VirtualMachine
from rocks.library.guest_images import boots_cd_last, boots_from_network, seed_path
from rocks.machine.placement import (
    LIBVIRT_CPU_MODES,
    PINNED,
    Placement,
    iothreads_of,
    page_size_kb,
    pinning_of,
    queues_of,
    write_cpu_set,
)
from rocks.machine.spec import max_cpus, max_memory_mb
from rocks.network.filter_plan import FilterPlan
from rocks.network.guest_connections import Bridged, Connection, PhysicalMacvtap, VirtualFunction, VlanMacvtap

# XML elements as lines, as the domain documents have them.

_TAG = re.compile(r"<[^<>]*>")
_VALUE = re.compile(r'="([^"]*)"')


def element(
    tag: str, attributes: Mapping[str, str] | None = None, *children: etree._Element, text: str = ""
) -> etree._Element:
    """The element. UserError for control characters, which XML cannot contain."""
    try:
        made = etree.Element(tag, dict(attributes or {}))
        made.extend(children)
        made.text = text or None
    except ValueError:
        escaped = " ".join([text, *(attributes or {}).values()]).encode("unicode_escape").decode()
        raise UserError(f"the {tag} of a domain cannot contain control characters: {escaped}") from None
    return made


def lines_of(one: etree._Element, indentation: int) -> list[str]:
    """The element as lines, each with one tag or one short element, in single quotes."""
    etree.indent(one, "  ")
    text: str = _TAG.sub(_single_quoted, etree.tostring(one, encoding="unicode"))
    return [" " * indentation + line for line in text.split("\n")]


def _single_quoted(tag: re.Match[str]) -> str:
    # line-oriented scripts of sites expect these quotes; within a tag, lxml escapes every other < > and "
    return _VALUE.sub(lambda value: "='" + value.group(1).replace("'", "&apos;") + "'", tag.group())


# CPUs and memory in the libvirt domain of a virtual machine, as lines of XML.
#
# Up to their maximum they can be added while it runs; memory only to a domain with a NUMA node (libvirt: Memory
# devices).
#
# A machine with `kvm_cpu_pinning` `pin_all` or `numa` is one for HPC: unless attributes say otherwise, it has
# `host-passthrough`, the topology of its cores, a queue for each CPU, an io thread and no HPET.
# `host-passthrough` for all was refused: it forbids to move machines between generations of hosts.

VIRT_TYPE = "hvm"
PASSTHROUGH = "host-passthrough"
SLOTS = 16
"""Memory modules that can be added."""


def cpu_and_memory(vm: VirtualMachine, placement: Placement | None) -> list[str]:
    """Memory, CPUs, their model and pins, and the features of the machine.

    Without a placement, which a start decides, nothing of its host is named; `pin_all` then has the CPUs from 0.
    """
    place = placement or Placement()
    lines = lines_of(element("memory", text=str(vm.memory_mb * KIB_PER_MB)), 2)
    lines += _huge_pages(vm)
    floating = {"cpuset": write_cpu_set(place.floating)} if place.floating else {}
    lines += lines_of(element("vcpu", floating, text=str(vm.host.cpus)), 2)
    threads = iothreads_of(vm)
    if threads:
        lines += lines_of(element("iothreads", text=str(threads)), 2)
    lines += _model(vm, place)
    lines += _pins(vm, place, threads)
    lines += _memory_nodes(place)
    if vm.virt_type == VIRT_TYPE:
        default = "    <acpi/>\n    <apic/>\n    <pae/>"
        features = vm.host.attribute("HVM_Features") or default
        lines += ["  <features>", *features.split("\n"), "  </features>"]
    if pinning_of(vm) in PINNED:
        lines += _clock()
    return lines


def _huge_pages(vm: VirtualMachine) -> list[str]:
    size_kb = page_size_kb(vm)
    if not size_kb:
        return []
    page = element("page", {"size": str(size_kb), "unit": "KiB"})
    return lines_of(element("memoryBacking", {}, element("hugepages", {}, page)), 2)


def _model(vm: VirtualMachine, place: Placement) -> list[str]:
    """The CPU: its mode or model, what the site's XML has inside, and the topology of a pinned machine."""
    text = vm.host.attribute("cpu_mode") or (PASSTHROUGH if pinning_of(vm) in PINNED else "")
    if not text:
        return []
    mode, _, inner = text.partition(":")
    if mode in LIBVIRT_CPU_MODES or inner:
        cpu = element("cpu", {"mode": mode})
    else:
        # a machine that moves between hosts of a mixed site sees the same CPU on each, or does not start
        model = element("model", {"fallback": "forbid"}, text=mode)
        cpu = element("cpu", {"mode": "custom", "match": "exact", "check": "partial"}, model)
    cpu.extend(_topology(place, mode, inner))
    if not inner:
        return lines_of(cpu, 2)
    *opening, closing = lines_of(cpu, 2) if len(cpu) else [*_opened(cpu), "  </cpu>"]
    return [*opening, *inner.split("\n"), closing]


def _opened(cpu: etree._Element) -> list[str]:
    return [line.removesuffix("/>") + ">" for line in lines_of(cpu, 2)]


def _topology(place: Placement, mode: str, inner: str) -> Iterable[etree._Element]:
    """Sockets, cores and threads, and NUMA nodes, as on the host; the site's own XML comes first."""
    if not place.pins:
        return
    if "<topology" not in inner:
        sockets = max(1, len(place.cells))
        cores = len(place.pins) // sockets // place.threads
        counts = {"sockets": str(sockets), "cores": str(cores), "threads": str(place.threads)}
        yield element("topology", counts)
    if mode == PASSTHROUGH:
        if "<cache" not in inner:
            yield element("cache", {"mode": "passthrough"})
        if place.needs_topoext and "topoext" not in inner:
            # without it, QEMU hides the threads of AMD's cores
            yield element("feature", {"policy": "require", "name": "topoext"})
    if len(place.cells) > 1 and "<numa" not in inner:
        cells = (
            element(
                "cell",
                {
                    "id": str(number),
                    "cpus": write_cpu_set(cell.cpus),
                    "memory": str(cell.memory_kb),
                    "unit": "KiB",
                },
            )
            for number, cell in enumerate(place.cells)
        )
        yield element("numa", {}, *cells)


def _pins(vm: VirtualMachine, place: Placement, threads: int) -> list[str]:
    pinning = vm.host.attribute("kvm_cpu_pinning")
    if pinning_of(vm) == "fixed":
        return ["  <cputune>", *pinning.split("\n"), "  </cputune>"]
    cpus = place.pins or (range(vm.host.cpus) if pinning == "pin_all" else ())
    tuned = [element("vcpupin", {"vcpu": str(number), "cpuset": str(cpu)}) for number, cpu in enumerate(cpus)]
    if place.helpers or place.allocating:
        emulator = (*(place.helpers or place.floating), *place.allocating)
        tuned.append(element("emulatorpin", {"cpuset": write_cpu_set(emulator)}))
    if place.helpers:
        helpers = write_cpu_set(place.helpers)
        tuned += [
            element("iothreadpin", {"iothread": str(number), "cpuset": helpers})
            for number in range(1, threads + 1)
        ]
    return lines_of(element("cputune", {}, *tuned), 2) if tuned else []


def _memory_nodes(place: Placement) -> list[str]:
    """Where the memory comes from: the host's node of each of the guest's nodes, or the only one."""
    nodes = [cell.node for cell in place.cells] or [n for n in (place.memory_node,) if n is not None]
    if not nodes:
        return []
    tuned = [element("memory", {"mode": "strict", "nodeset": write_cpu_set(nodes)})]
    if len(nodes) > 1:
        tuned += [
            element("memnode", {"cellid": str(number), "mode": "strict", "nodeset": str(node)})
            for number, node in enumerate(nodes)
        ]
    return lines_of(element("numatune", {}, *tuned), 2)


def _clock() -> list[str]:
    """Ticks that the guest missed are made up for slowly, and it has no timer that interrupts its cores for nothing."""
    timers = (
        element("timer", {"name": "rtc", "tickpolicy": "catchup"}),
        element("timer", {"name": "pit", "tickpolicy": "delay"}),
        element("timer", {"name": "hpet", "present": "no"}),
    )
    return lines_of(element("clock", {"offset": "utc"}, *timers), 2)


def with_maxima(vm: VirtualMachine, lines: Sequence[str]) -> list[str]:
    """The block `cpumem` of the document with the maxima; unchanged for a machine without them.

    A document with a CPU topology or NUMA nodes keeps its number of CPUs, which those name one by one. StateError when
    the site's own XML in it is not well-formed.
    """
    cpus, memory_mb = max_cpus(vm), max_memory_mb(vm)
    if cpus <= vm.host.cpus and memory_mb <= vm.memory_mb:
        return list(lines)
    parser = etree.XMLParser(resolve_entities=False, no_network=True, remove_blank_text=True)
    try:
        block = etree.fromstring("\n".join(["<block>", *lines, "</block>"]).encode(), parser)
    except etree.XMLSyntaxError as error:
        raise StateError(
            f"the attributes cpu_mode, kvm_cpu_pinning or HVM_Features of {vm.name} are not well-formed XML: {error}"
        ) from None
    if cpus > vm.host.cpus and block.find("cpu/topology") is None and block.find("cpu/numa") is None:
        _raise_cpus(block, vm.host.cpus, cpus)
    if memory_mb > vm.memory_mb:
        _raise_memory(block, vm, memory_mb)
    etree.indent(block, "  ")
    return etree.tostring(block, encoding="unicode").splitlines()[1:-1]


def _raise_cpus(block: etree._Element, cpus: int, most: int) -> None:
    vcpu = block.find("vcpu")
    if vcpu is not None:
        vcpu.set("current", str(cpus))
        vcpu.text = str(most)


def _raise_memory(block: etree._Element, vm: VirtualMachine, memory_mb: int) -> None:
    most = etree.Element("maxMemory", {"slots": str(SLOTS), "unit": "KiB"})
    most.text = str(memory_mb * KIB_PER_MB)
    block.insert(0, most)
    cpu = block.find("cpu")
    if cpu is None:
        cpu = etree.Element("cpu")
        vcpu = block.find("vcpu")
        block.insert(len(block) if vcpu is None else block.index(vcpu) + 1, cpu)
    if cpu.find("numa") is None:
        last = int(block.findtext("vcpu") or vm.host.cpus) - 1
        cell = {"id": "0", "cpus": f"0-{last}", "memory": str(vm.memory_mb * KIB_PER_MB), "unit": "KiB"}
        etree.SubElement(etree.SubElement(cpu, "numa"), "cell", cell)


# Disks in the libvirt domain of a virtual machine, as lines of XML.

VIRTIO = ("virtio", "w")
"""Names of the virtio bus in the database."""

IDE_DEVICES = ("hda", "hdb", "hdc", "hdd")
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


def disk_lines(vm: VirtualMachine) -> list[str]:
    """Disks, the CD drive, and the disk for cloud-init. UserError for a disk of an unknown type."""
    hints = {disk.device for disk in vm.disks}
    taken: set[str] = set()
    ide_letters: set[str] = set()
    lines: list[str] = []
    freed = {"discard": "unmap"} if vm.host.is_true("kvm_discard") else {}
    drivers = _virtio_drivers(queues_of(vm), iothreads_of(vm), freed)
    for disk in vm.disks:
        target = disk.device if disk.device not in taken else _free_target(disk.device, taken | hints)
        taken.add(target)
        lines += lines_of(_disk(disk, target, next(drivers) if disk.bus in VIRTIO else freed), 4)
        if disk.bus == "ide":
            ide_letters.add(target[-1])  # libvirt maps sda on the IDE bus to the place of hda
    if vm.cdrom_path:
        free = (name for name in IDE_DEVICES if name not in taken and name[-1] not in ide_letters)
        device = next(free, None)
        if device is None:
            raise UserError(f"{vm.name} has no free IDE device for its cdrom; move a disk to another bus")
        lines += lines_of(_cdrom(vm.cdrom_path, device), 4)
    seed = seed_path(vm)
    if seed is not None:
        lines += _seed_lines(vm, seed, taken | hints)
    return lines


def _virtio_drivers(queues: int, iothreads: int, freed: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Attributes of the driver of one virtio disk after the other: the threads take turns."""
    for number in count():
        thread = {"iothread": str(number % iothreads + 1)} if iothreads else {}
        yield {**freed, **({"queues": str(queues)} if queues > 1 else {}), **thread}


def _disk(disk: Disk, target: str, more: Mapping[str, str]) -> etree._Element:
    bus = "virtio" if disk.bus == "w" else disk.bus
    if disk.is_block:
        driver, source, kind = BLOCK_DRIVER, {"dev": disk.path}, "block"
    elif disk.type in DRIVER_TYPES:
        driver, source, kind = {"name": "qemu", "type": DRIVER_TYPES[disk.type]}, {"file": disk.path}, "file"
    else:
        raise UserError("Disk type is not valid. Please see rocks help add host vm.")
    return element(
        "disk",
        {"type": kind, "device": "disk"},
        element("driver", {**driver, **more}),
        element("source", source),
        element("target", {"dev": target, "bus": bus}),
    )


def _seed_lines(vm: VirtualMachine, path: str, taken: set[str]) -> list[str]:
    """The disk that cloud-init finds by its label, on a bus of its own: Linux names vda, vdb, … in their order.

    So a disk that is added while the guest runs keeps its name. The bus is SCSI of virtio, since kernels for clouds
    have no AHCI. Linux also names disks of other buses sda, sdb, …: beside such a disk it is one of virtio.
    """
    if any(disk.bus not in VIRTIO for disk in vm.disks):
        return lines_of(_seed(path, _free_target("vda", taken), "virtio"), 4)
    controller = element("controller", {"type": "scsi", "index": "0", "model": "virtio-scsi"})
    return [*lines_of(controller, 4), *lines_of(_seed(path, _free_target("sda", taken), "scsi"), 4)]


def _seed(path: str, target: str, bus: str) -> etree._Element:
    return element(
        "disk",
        {"type": "file", "device": "disk"},
        element("driver", {"name": "qemu", "type": "raw"}),
        element("source", {"file": path}),
        element("target", {"dev": target, "bus": bus}),
        element("readonly"),
    )


def _cdrom(path: str, device: str) -> etree._Element:
    is_block = path.startswith("/dev/")
    return element(
        "disk",
        {"type": "block" if is_block else "file", "device": "cdrom"},
        element("driver", {"name": "qemu", "type": "raw"}),
        element("source", {"dev" if is_block else "file": path}),
        element("target", {"dev": device, "bus": "ide"}),
        element("readonly"),
    )


def _free_target(device: str, taken: set[str]) -> str:
    """Unique targets: disks in the database may have the same device, but libvirt requires each target once."""
    match = _SERIES.match(device)
    series = match.group() if match else device[:-1]
    from string import ascii_lowercase  # late, with its regular expressions: most devices are free

    letters = [*ascii_lowercase, *(one + other for one in ascii_lowercase for other in ascii_lowercase)]
    free = (series + letter for letter in letters if series + letter not in taken)
    target: str | None = next(free, None)
    if target is None:
        raise UserError(f"too many disks have the device {device}; change it for some of them")
    return target


# Interfaces in the libvirt domain of a virtual machine, as lines of XML.


def interface_lines(connections: Sequence[Connection], queues: int) -> list[str]:
    """The interfaces, each of so many queues; an interface without a connection is left out."""
    lines: list[str] = []
    driver = [] if queues == 1 else [{"queues": str(queues)}]
    for connection in connections:
        if isinstance(connection, VlanMacvtap | PhysicalMacvtap):
            kind, source = "direct", {"dev": connection.device, "mode": "bridge"}
            model = element("model", {"type": "virtio"})
        elif isinstance(connection, Bridged):
            kind, source = "bridge", {"bridge": connection.bridge}
            model = element("model", {"type": "virtio"})
            if connection.is_open_vswitch:
                model = element("virtualport", {"type": "openvswitch"})
        elif isinstance(connection, VirtualFunction):
            lines += lines_of(_function(connection), 4)
            continue
        else:
            continue
        mac = element("mac", {"address": full_mac(connection.mac)})
        drivers = [element("driver", given) for given in driver if model.tag == "model"]
        one = element("interface", {"type": kind}, element("source", source), mac, model, *drivers)
        lines += lines_of(one, 4)
    return lines


def _function(connection: VirtualFunction) -> etree._Element:
    """A placeholder, which the schema requires; the agent inserts the VF's PCI address, which only the host knows."""
    address = {"type": "pci", **dict.fromkeys(("domain", "bus", "slot", "function"), "0x0")}
    interface = element(
        "interface",
        {"type": "hostdev", "managed": "yes"},
        element("source", {}, element("address", address)),
        element("mac", {"address": full_mac(connection.mac)}),
    )
    if connection.vlan:
        interface.append(element("vlan", {}, element("tag", {"id": str(connection.vlan)})))
    return interface


# Devices in the libvirt domain of a virtual machine besides disks and interfaces, as lines of XML.

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


# The libvirt domain of a virtual machine, as lines of XML.
#
# lxml escapes the text that users enter; only the attributes that are XML by definition (features, devices, pinning,
# inner CPU elements) are inserted unchanged. Each line has one tag or one short element.
#
# Filters of other rolls get these lines, and sites change them with line-oriented tools: neither a tree nor
# templates. Only after the filters must the whole be well-formed; the report prints a broken document, too, so
# that it can be repaired.

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
