"""`rocks clone host vm`"""

import rocks.commands
from rocks.commands._shared.interrupt import LOOK_AT_LEASES
from rocks.commands._shared.vm_reinstall import reinstall

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    Replace the first disk of virtual machines by a clone of the disk of another machine of their cluster, on its NAS.
    What was on the replaced disks is lost. A clone takes no space until it is written to. Names, addresses, keys and
    all other disks stay; cloud-init sets the machines up anew.

    Nothing is changed unless all checks pass. The original must be off, with its changes written back. The other
    machines must be off (or force=yes), in the same pool and made from an image, without snapshots, saved memory and
    clones of their own. The original's disk cannot be removed while it has clones. After a kill, repeat the command.

    <arg type='string' name='original' of='machine'>
    Virtual machine whose disk is cloned.
    </arg>
    <arg type='string' name='host' repeat='1' of='machine'>
    Virtual machines that get the clones.
    </arg>
    <shared names='force-off,write-back-timeout,dry-run'/>

    <example cmd='clone host vm vm-vc1-0 vm-vc1-1 vm-vc1-2'>
    Give two computes clones of the disk of the first one.
    </example>
    <example cmd='clone host vm vm-vc1-0 vm-vc1-1 force=yes'>
    Power a machine off, if it runs, and give it a clone.
    </example>
    <related>clone cluster</related>
    <related>reinstall host vm</related>
    <related>start host vm</related>
    """

    AdviceAfterInterrupt = f"the same command goes on; {LOOK_AT_LEASES}"

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Replace the disks and report each machine."""
        if len(args) < 2:
            self.abort("must supply a machine, and the machines that get clones of its disk")
        reinstall(self, self.getHostnames(args[1:]), original=self.getOneHostname(args[:1]))
