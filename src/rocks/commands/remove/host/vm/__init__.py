"""`rocks remove host vm`"""

import rocks.commands
from rocks.commands._shared.vm_removal import remove_with_hooks

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    Convert virtual machines into ordinary hosts: running machines are stopped; memory, container and disks are
    removed from the database. The host, its interfaces and its disk images remain.

    A container that does not respond causes a warning. Its lease of the machine then remains: no other machine
    of the same name or on the same disk can start until the container responds again.

    <arg type='string' name='host' repeat='1'>
    Virtual machines.
    </arg>

    <example cmd='remove host vm vm-vc1-1'>
    Convert one machine.
    </example>
    <related>remove host</related>
    <related>set host vm</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Run the hooks, remove the machines and report remaining images."""
        remove_with_hooks(self, self.getSomeHostnames(args))
