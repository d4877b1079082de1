"""`rocks start host vm`"""

import rocks.commands
from rocks.commands._shared.interrupt import LOOK_AT_LEASES
from rocks.commands._shared.vm_start import start_with_hooks
from rocks.commands._shared.vm_states import states_afterwards

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    Start virtual machines.

    A machine runs on at most one host: the start fails while another host may still run it. A missing disk
    image is created; an existing one is never overwritten. If an image is still being written back to its NAS,
    the start waits for at most 15 minutes; an interrupt ends the wait, and nothing is started. An interrupted live
    migration is ended first, if the guest is off on both hosts. If the start of a machine fails, its newly mapped
    images are unmapped, unless the machine may run. The command prints a line for each image of a NAS with its device
    on the host, and a note if a machine runs under emulation, without a packet filter or without one of its networks.
    With json=yes it prints the machines afterwards, as list host vm status=yes does; those that failed have the family
    and the code of their error.

    <shared names='machines,beside-jobs,dry-run'/>

    <example cmd='start host vm vm-vc1-0'>
    Start one machine.
    </example>
    <example cmd='start host vm vm-vc1-0 vm-vc1-1'>
    Start two machines; if one fails, the other is still started and the exit status is 3.
    </example>
    <example cmd='start host vm vm-vc1-0 dry-run=yes'>
    Print what would be done on which host, and change nothing.
    </example>
    <related>stop host vm</related>
    <related>list host vm</related>
    <related>open host console</related>
    """

    AdviceAfterInterrupt = LOOK_AT_LEASES

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Start the machines and report failures."""
        names = self.getSomeHostnames(args)
        with states_afterwards(self, names):
            start_with_hooks(self, names)
