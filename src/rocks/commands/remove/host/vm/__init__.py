"""`rocks remove host vm`"""

import shlex
from collections.abc import Sequence

import rocks.commands
from rocks.commands._shared.interrupt import LOOK_AT_LEASES
from rocks.commands._shared.vm_removal import reads_disks_parameter, remove_with_hooks
from rocks.inventory.records import VirtualMachine
from rocks.site.hosts import check_whole_clusters

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    Convert virtual machines into ordinary hosts: running machines are stopped; memory, container and disks are
    removed from the database. The host and its interfaces remain, and its disk images unless disks=remove.

    A container that does not respond causes a warning. Its lease of the machine then remains: no other machine
    of the same name or on the same disk can start until the container responds again.

    The frontend of a virtual cluster is converted with all its computes only; see remove cluster.

    <shared names='machines'/>

    <shared names='disks,dry-run'/>

    <example cmd='remove host vm vm-vc1-1'>
    Convert one machine.
    </example>
    <example cmd='remove host vm vm-vc1-1 disks=remove'>
    With its disks, whose content is lost.
    </example>
    <related>remove host</related>
    <related>remove cluster</related>
    <related>set host vm</related>
    """

    AdviceAfterInterrupt = LOOK_AT_LEASES

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Run the hooks, remove the machines and report remaining images."""
        hosts = self.getSomeHostnames(args)
        with_disks = reads_disks_parameter(self)
        check_whole_clusters(self.db, hosts)
        self._report(remove_with_hooks(self, hosts, with_disks))

    def _report(self, machines: Sequence[VirtualMachine]) -> None:
        """The names stay in use, also by a cluster that is added again: the operator learns it here."""
        if not machines:
            return
        vm = machines[0]
        more = f" and {len(machines) - 1} more" if len(machines) > 1 else ""
        self.notify(
            f"{vm.name}{more}: an ordinary host from now on, in no cluster; its name stays in use. To remove it, too: "
            f"rocks remove host {vm.name}; to make it a virtual machine again: {_again(vm)}"
        )


def _again(vm: VirtualMachine) -> str:
    """The command that makes it again; its images bear its UUID. Disks on NASes are not named there."""
    line = [
        "rocks",
        "set",
        "host",
        "vm",
        vm.name,
        f"physnode={vm.container.name if vm.container else 'HOST'}",
    ]
    if vm.disks and not any(disk.is_mapped for disk in vm.disks):
        line.append(f"disk={' '.join(disk.specification for disk in vm.disks)}")
        line.append(f"disksize={' '.join(str(disk.size_gb) for disk in vm.disks)}")
    if vm.slice:  # a new one has 0
        line.append(f"slice={vm.slice}")
    return shlex.join([*line, f"mem={vm.memory_mb}", f"uuid={vm.uuid}"])
