"""Records to try rules on: a container and a virtual machine on it, in which a test changes what it is about."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from rocks.inventory.records import Disk, Host, Interface, VirtualMachine
from rocks.machine.disks import read_disk

PRIVATE: dict[str, Any] = {"subnet": "private", "netmask": "255.255.0.0", "mtu_bytes": 1500}
PUBLIC: dict[str, Any] = {"subnet": "public", "netmask": "255.255.255.0", "mtu_bytes": 1500}


def interface(device: str | None, host: str = "vmc-0-0", **values: Any) -> Interface:
    """An interface; without a network unless `values` name one."""
    return Interface(**{"host": host, "device": device, "mac": None, **values})


def container(
    name: str = "vmc-0-0", interfaces: Sequence[Interface] | None = None, **attributes: str
) -> Host:
    """A VM container in rack 0, rank 0, with eth0 on network private unless `interfaces` say other."""
    if interfaces is None:
        interfaces = [interface("eth0", name, mac="52:54:00:00:00:01", **PRIVATE)]
    return Host(
        name=name,
        membership="VM Container",
        appliance="vm-container",
        cpus=4,
        rack=0,
        rank=0,
        interfaces=tuple(interfaces),
        attributes={
            "kvm": "true",
            "vm_image_directories": "/images",
            "vm_disk_devices": "/dev/vg/*",
            **attributes,
        },
    )


def machine(
    name: str = "web",
    place: Host | None = None,
    interfaces: Sequence[Interface] = (),
    disks: Sequence[str | Disk] = ("file:/images/web.vda,vda,virtio",),
    attributes: dict[str, str] | None = None,
    **values: Any,
) -> VirtualMachine:
    """A compute with 2048 MB, 1 CPU and one disk of 36 GB on `place`; `values` change fields of machine or node."""
    node = Host(
        name=name,
        membership="Compute",
        appliance="compute",
        cpus=1,
        rack=0,
        rank=0,
        run_action="os",
        install_action="install",
        boot_action="os",
        interfaces=tuple(interfaces),
        attributes=attributes or {},
    )
    of_both = Host.__dataclass_fields__.keys() & VirtualMachine.__dataclass_fields__.keys()
    of_node = {
        key: values.pop(key) for key in Host.__dataclass_fields__ if key in values and key not in of_both
    }
    return VirtualMachine(
        host=replace(node, **of_node),
        container=place or container(),
        memory_mb=values.pop("memory_mb", 2048),
        slice=0,
        disks=tuple(read_disk(disk, 36) if isinstance(disk, str) else disk for disk in disks),
        **values,
    )
