"""`rocks dump host vm`"""

import rocks.commands.dump
from rocks.commands._framework.tree import tree_folders, words_below
from rocks.inventory.host_records import find_local_host
from rocks.machine.listing_records import StoredVm, stored_vms

SET_VM = ("set", "host", "vm")

RollName = "kvm"


class Command(rocks.commands.dump.command):
    """
    Print the commands that recreate virtual machines.

    <arg optional='1' type='string' name='host' repeat='1' default='all'>
    Virtual machines.
    </arg>

    <example cmd='dump host vm'>
    All virtual machines.
    </example>
    <example cmd='dump host vm vm-vc1-0'>
    One machine.
    </example>

    <related>list host vm</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one or two lines per machine."""
        local = find_local_host(self.db)
        below = words_below(SET_VM, tree_folders())
        slices: set[tuple[str, int]] = set()
        for vm in stored_vms(self.db, self.getHostnames(args)):
            # A machine may have the name of a command below `set host vm`: the words are then quoted together.
            verb = (" ".join(SET_VM),) if vm.name in below else SET_VM
            place = (vm.name if vm.container is None else vm.container, vm.slice)
            self.dump(*verb, vm.name, *_parameters(vm, local, with_slice=place not in slices))
            slices.add(place)
            if vm.cdrom_path:
                self.dump(*SET_VM, "cdrom", vm.name, f"cdrom={vm.cdrom_path}")


def _parameters(vm: StoredVm, local: str | None, with_slice: bool) -> list[str]:
    """The parameters of `set host vm`. A slice that two machines of a host have, after a move, is given once."""
    arguments = []
    if vm.container is not None:
        arguments.append(f"physnode={'localhost' if vm.container == local else vm.container}")
    if vm.disks:
        arguments += [
            f"disk={' '.join(disk.text for disk in vm.disks)}",
            f"disksize={' '.join(str(disk.size_gb) for disk in vm.disks)}",
        ]
    arguments.append(f"mem={vm.memory_mb}")
    if with_slice:
        arguments.append(f"slice={vm.slice}")
    return [*arguments, f"virt-type={vm.virt_type or 'para'}", f"uuid={vm.uuid}"]
