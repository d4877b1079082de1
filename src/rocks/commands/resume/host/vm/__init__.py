"""`rocks resume host vm`"""

import rocks.commands
from rocks.commands._shared.interrupt import LOOK_AT_LEASES
from rocks.machine.stop import resume_vms

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    Resume the execution of paused virtual machines.

    <shared names='machines,dry-run'/>

    <example cmd='resume host vm vm-vc1-0'>
    Resume one machine.
    </example>
    <example cmd='resume host vm vm-vc1-0 vm-vc1-1'>
    Two machines at once.
    </example>
    <related>pause host vm</related>
    """

    AdviceAfterInterrupt = LOOK_AT_LEASES

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Resume the machines and report failures."""
        outcomes = resume_vms(self.db, self.getSomeHostnames(args))
        self.endOutcomes(outcomes.failed, outcomes.tried)
