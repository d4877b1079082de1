"""What the attributes of a virtual machine and of its host ask for: cores, huge pages, queues, PCI devices. Pure.

Readers check again what `inventory.attributes.forms` checks when an attribute is set, since an earlier release
stored any value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from lxml import etree

from rocks.core.errors import StateError, UserError
from rocks.core.names import printable
from rocks.core.values import read_number
from rocks.machine.placement.shapes import ShapeRequest
from rocks.machine.placement.values import (
    MAX_IOTHREADS,
    MAX_QUEUES,
    PAGE_SIZES_KB,
    PINNED,
    check_queues,
    read_cpu_set,
    read_pci_pools,
    read_pci_requests,
)
from rocks.machine.spec import container_of, memory_reserve_mb

if TYPE_CHECKING:
    from collections.abc import Callable

    from rocks.inventory.records import Host, VirtualMachine

Value = TypeVar("Value")


def read_request(vm: VirtualMachine, token: int) -> ShapeRequest:
    """What the machine asks of its container under this lease. StateError for a value that cannot be read."""
    container = container_of(vm)
    pinning = pinning_of(vm)
    lent = _read(container, "vm_pinned_cpus", read_cpu_set) if container.attribute("vm_pinned_cpus") else None
    return ShapeRequest(
        name=vm.name,
        host=container.name,
        token=token,
        cpus=vm.host.cpus,
        memory_mb=vm.memory_mb,
        pinning=pinning,
        fixed_cpus=_fixed_cpus(vm.host.attribute("kvm_cpu_pinning")) if pinning == "fixed" else frozenset(),
        page_kb=page_size_kb(vm),
        devices=_read(vm.host, "kvm_pci_devices", read_pci_requests),
        lent_cpus=lent,
        pools=_read(container, "vm_pci_pools", read_pci_pools),
        reserve_mb=memory_reserve_mb(container),
    )


def pinning_of(vm: VirtualMachine) -> str:
    """none, pin_all, numa, or fixed: pinned by the site's own XML."""
    text = vm.host.attribute("kvm_cpu_pinning")
    if text == "none":
        return text
    return text if text in PINNED else "fixed"


def page_size_kb(vm: VirtualMachine) -> int:
    """The size of the machine's huge pages in KiB; 0 for ordinary memory."""
    text = vm.host.attribute("kvm_hugepages")
    if text == "none":
        return 0
    if text not in PAGE_SIZES_KB:
        raise _not_valid(vm.host, "kvm_hugepages", "it must be 2M, 1G or none")
    return PAGE_SIZES_KB[text]


def queues_of(vm: VirtualMachine) -> int:
    """The queues of each virtio device: of a pinned machine one for each CPU, else one, unless `kvm_queues` says."""
    text = vm.host.attribute("kvm_queues") or ("cpus" if pinning_of(vm) in PINNED else "1")
    _read(vm.host, "kvm_queues", lambda _: check_queues(text))
    return min(vm.host.cpus, MAX_QUEUES) if text == "cpus" else int(text)


def iothreads_of(vm: VirtualMachine) -> int:
    """The threads of QEMU for virtio disks: one for a pinned machine, else none, unless `kvm_iothreads` says."""
    default = "1" if pinning_of(vm) in PINNED else "0"
    return _read(
        vm.host,
        "kvm_iothreads",
        lambda text: read_number("the number of threads", text or default, 0, MAX_IOTHREADS),
    )


def _fixed_cpus(text: str) -> frozenset[int]:
    """The CPUs that the site's own XML pins virtual CPUs to; none when it is not well-formed, which a start rejects."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True)
    try:
        pins = etree.fromstring(f"<cputune>{text}</cputune>".encode(), parser).findall("vcpupin")
        return frozenset().union(*(read_cpu_set(pin.get("cpuset", "")) for pin in pins))
    except (etree.XMLSyntaxError, UserError):
        return frozenset()


def _read(host: Host, attribute: str, read: Callable[[str], Value]) -> Value:
    text = host.attribute(attribute)
    try:
        return read(text)
    except UserError as error:
        raise _not_valid(host, attribute, str(error)) from None


def _not_valid(host: Host, attribute: str, reason: str) -> StateError:
    return StateError(
        f'the attribute {attribute} of {host.name} cannot have the value "{printable(host.attribute(attribute))}": '
        f"{reason}; correct it: rocks set host attr {host.name} {attribute} VALUE"
    )
