"""`rocks sync host vm`"""

import rocks.commands
from rocks.commands._shared.interrupt import LOOK_AT_LEASES

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    Bring virtual machines that run to their records without a restart: CPUs and memory are added up to the maximum
    with which a machine was started, network interfaces are attached and detached, and packet filters get changed
    addresses. A line names what takes effect at the next start only. A machine that is off has nothing to do.

    A guest must release an interface that is detached. Virtual functions and disks do not change: rocks add host vm
    disk attaches a disk.

    <shared names='machines,dry-run'/>

    <example cmd='sync host vm vm-vc1-0'>
    After rocks add host interface: attach the interface to the running machine.
    </example>
    <example cmd='sync host vm vm-vc1-0 vm-vc1-1'>
    Two machines at once.
    </example>
    <related>set host vm</related>
    <related>add host interface</related>
    <related>add host vm disk</related>
    """

    AdviceAfterInterrupt = LOOK_AT_LEASES

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Change the machines and report what was changed, and failures."""
        from rocks.commands._shared.vm_filters import filters_of
        from rocks.machine.converge import sync_vms  # hosts are reached by heavy libraries

        outcomes = sync_vms(self.db, self.getSomeHostnames(args), filters_of(self))
        for line in outcomes.joined_lines:
            self.notify(line)
        self.endOutcomes(outcomes.failed, outcomes.tried)
