"""`rocks restore host vm`"""

import rocks.commands
from rocks.commands._shared.interrupt import LOOK_AT_LEASES
from rocks.commands._shared.vm_start import start_with_hooks

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    Continue saved virtual machines where they were. What was changed in the database meanwhile takes effect at a boot,
    as after a stop. A machine is refused when its disk files have changed since, or its images of a NAS have left the
    host. If the restore fails, the machine stays saved. The guest's clock is late by the time that it was saved.

    <arg type='string' name='host' repeat='1'>
    Saved virtual machines.
    </arg>
    <shared names='beside-jobs,dry-run'/>

    <example cmd='restore host vm vm-vc1-0'>
    Continue one machine.
    </example>
    <example cmd='restore host vm vm-vc1-0 vm-vc1-1'>
    Continue two; if one fails, the other continues all the same, and the exit status is 3.
    </example>
    <related>save host vm</related>
    <related>start host vm</related>
    """

    AdviceAfterInterrupt = LOOK_AT_LEASES

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Start the machines from their saved memory, and report failures."""
        from rocks.machine.snapshots import check_saved

        names = self.getSomeHostnames(args)
        check_saved(self.db, names)
        start_with_hooks(self, names)
