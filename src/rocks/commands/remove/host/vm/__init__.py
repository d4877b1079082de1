"""`rocks remove host vm`"""

import rocks.commands
from rocks.commands._shared.vm_removal import remove_with_hooks

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    Make virtual machines ordinary nodes again: what runs is stopped, and their memory, container and disks are
    forgotten. The node, its interfaces and its disk images stay.

    A container that does not answer is a warning. Its machine then stays leased to it: no other of the same name or on
    the same disk starts before the container has been heard again.

    <arg type='string' name='host' repeat='1'>
    Virtual machines.
    </arg>

    <example cmd='remove host vm vm-vc1-1'>
    Forget one.
    </example>
    <related>remove host</related>
    <related>set host vm</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Run the hooks, remove the machines, tell what stays."""
        remove_with_hooks(self, self.getSomeHostnames(args))
