"""`rocks pause host vm`"""

import rocks.commands
from rocks.commands._shared.interrupt import LOOK_AT_LEASES
from rocks.machine.stop import pause_vms

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    Suspend the execution of virtual machines; they retain their memory.

    <shared names='machines,dry-run'/>

    <example cmd='pause host vm vm-vc1-0'>
    Pause one machine.
    </example>
    <example cmd='pause host vm vm-vc1-0 vm-vc1-1'>
    Two machines at once.
    </example>
    <related>resume host vm</related>
    """

    AdviceAfterInterrupt = LOOK_AT_LEASES

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Pause the machines and report failures."""
        outcomes = pause_vms(self.db, self.getSomeHostnames(args))
        self.endOutcomes(outcomes.failed, outcomes.tried)
