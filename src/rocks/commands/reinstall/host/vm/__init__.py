"""`rocks reinstall host vm`"""

import rocks.commands
from rocks.commands._shared.interrupt import LOOK_AT_LEASES
from rocks.commands._shared.vm_reinstall import reinstall

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    Give virtual machines fresh system disks: the first disk of each is removed, on its host or its NAS, and the next
    start makes it again from the machine's image (attribute vm_image). What is on it is lost. Names, addresses, keys
    and all other disks stay; cloud-init sets the machine up anew, with new host keys of SSH.

    Nothing is changed unless all machines have an image that the library has, are off (or force=yes), and have neither
    snapshots nor saved memory. A machine without an image is installed from an ISO (rocks set host vm cdrom). A disk on
    a NAS that is a clone of another machine's disk (clone cluster, clone host vm) is replaced only with image=. After a
    kill, repeat the command.

    <shared names='machines'/>
    <param type='string' name='image' default='that of each machine' of='image'>
    Another image, from which the machines get their disks from now on.
    </param>
    <shared names='force-off,write-back-timeout,dry-run'/>

    <example cmd='reinstall host vm vm-vc1-0'>
    A fresh disk for a machine that is off.
    </example>
    <example cmd='reinstall host vm vm-vc1-0 vm-vc1-1 force=yes'>
    Fresh disks for two machines, which are powered off if they run.
    </example>
    <example cmd='reinstall host vm vm-vc1-0 image=debian-13'>
    A disk from another image.
    </example>
    <related>reinstall cluster</related>
    <related>clone host vm</related>
    <related>start host vm</related>
    <related>set host boot</related>
    """

    AdviceAfterInterrupt = f"the same command goes on; {LOOK_AT_LEASES}"

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Remove the disks and report each machine."""
        reinstall(self, self.getSomeHostnames(args), self.fillText("image") or "")
