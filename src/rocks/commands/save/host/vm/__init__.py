"""`rocks save host vm`"""

import rocks.commands
from rocks.commands._framework.progress import HostProgress
from rocks.commands._shared.interrupt import LOOK_AT_LEASES

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    Save the memory of running virtual machines to files of their hosts, and stop them: libvirt's managed save. The
    machine continues where it was at its next start or restore, on the same host. Its images of a NAS stay mapped to
    the host until then. A machine with any other device of its host cannot be saved; if saving fails, it runs on.
    Cores, huge pages and the name stay reserved for a saved machine, its memory does not. To be repeated after an
    interrupt.

    <shared names='machines,dry-run'/>

    <example cmd='save host vm vm-vc1-0'>
    Save one machine.
    </example>
    <example cmd='save host vm vm-vc1-0 vm-vc1-1'>
    Save two; if one cannot be saved, the other is all the same, and the exit status is 3.
    </example>
    <related>restore host vm</related>
    <related>stop host vm</related>
    <related>pause host vm</related>
    """

    AdviceAfterInterrupt = LOOK_AT_LEASES

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Save the machines and report failures."""
        from rocks.machine.snapshots import save_vms  # hosts are reached by heavy libraries

        outcomes = save_vms(self.db, self.getSomeHostnames(args), self.notify, HostProgress(self))
        for line in outcomes.lines:
            self.notify(line)
        self.endOutcomes(outcomes.failed, outcomes.tried)
