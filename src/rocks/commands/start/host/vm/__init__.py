"""`rocks start host vm`"""

import rocks.commands
from rocks.commands._shared.vm_start import start_with_hooks

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    Start virtual machines.

    A machine runs at most once: the start is refused while another host may still be running it. The disk image is
    made when it is missing, never over an existing one. An image that is still on its way home to its NAS is waited
    for, a quarter of an hour at most; an interrupt ends that, and nothing is started. Images that were mapped for a
    machine that cannot be started are unmapped again, unless it may run. Printed is a line for each image of a NAS,
    with its device on the host; nothing else when all goes well.

    <arg type='string' name='host' repeat='1'>
    Virtual machines.
    </arg>

    <example cmd='start host vm vm-vc1-0'>
    Start one machine.
    </example>
    <example cmd='start host vm vm-vc1-0 vm-vc1-1'>
    Start two; one that fails does not stop the other, and the exit status is then 3.
    </example>
    <related>stop host vm</related>
    <related>list host vm</related>
    <related>open host console</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Start the machines and tell what failed."""
        start_with_hooks(self, self.getSomeHostnames(args))
