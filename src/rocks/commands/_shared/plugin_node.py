"""A virtual machine as hooks of other rolls know it: Rocks' own field names."""

from __future__ import annotations

from collections.abc import Mapping

from rocks.core.dataclasses import dataclass
from rocks.inventory.records import Disk, Interface, VirtualMachine


@dataclass(frozen=True)
class VmDefinitions:
    """What `vm_nodes` and `vm_disks` say: memory in MB, disks, container's name, cdrom path, slice, kind."""

    mem: int
    disks: tuple[Disk, ...]
    physNode: str | None  # noqa: N815 - the name that plugins use
    cdrom_path: str
    slice: int
    virt_type: str | None


@dataclass(frozen=True)
class PluginNode:
    """What a plugin's `run(node)` gets."""

    name: str
    cpus: int
    rack: int | None
    rank: int | None
    membership: str
    networks: tuple[Interface, ...]
    vm_defs: VmDefinitions
    boot: str | None
    installaction: str | None
    runaction: str | None
    attributes: Mapping[str, str]


def plugin_node(vm: VirtualMachine) -> PluginNode:
    """The machine as a plugin sees it."""
    container = vm.container.name if vm.container else None
    return PluginNode(
        name=vm.name,
        cpus=vm.host.cpus,
        rack=vm.host.rack,
        rank=vm.host.rank,
        membership=vm.host.membership,
        networks=vm.host.interfaces,
        vm_defs=VmDefinitions(vm.memory_mb, vm.disks, container, vm.cdrom_path, vm.slice, vm.virt_type),
        boot=vm.host.boot_action,
        installaction=vm.host.install_action,
        runaction=vm.host.run_action,
        attributes=vm.host.attributes,
    )
