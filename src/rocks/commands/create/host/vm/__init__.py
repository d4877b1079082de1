"""`rocks create host vm`"""

import rocks.commands
from rocks.commands._shared.vm_start import start_with_hooks

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    Start virtual machines; an alias of start host vm.

    <shared names='machines,beside-jobs,dry-run'/>

    <example cmd='create host vm vm-vc1-0'>
    Start one machine.
    </example>
    <example cmd='create host vm vm-vc1-0 vm-vc1-1'>
    Two machines at once.
    </example>
    <related>start host vm</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Start the machines and report failures."""
        start_with_hooks(self, self.getSomeHostnames(args))
