"""`rocks set host image`"""

import rocks.commands

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    Give a disk image to a virtual machine. An image that was copied into place belongs to nobody, and one of a
    removed machine to that machine; no machine starts with it until it is given to it. One that root has copied to the
    path of a machine's disk, after the machine got that disk, need not be given: it is the machine's when it starts.

    The image gets the UUID of the machine, owner root and mode 0600. It must not be in use, and must not be the
    disk of another machine.

    <arg type='string' name='host'>
    Physical host.
    </arg>
    <arg type='string' name='file'>
    Absolute path of the image.
    </arg>
    <param type='string' name='vm' optional='0' of='machine'>
    The virtual machine.
    </param>
    <shared names='dry-run'/>

    <example cmd='set host image vm-container-0-0 /state/partition1/kvm/disks/vm-vc1-0.vda vm=vm-vc1-0'>
    Let vm-vc1-0 start with an image that was copied there.
    </example>
    <example cmd='set host image vm-container-0-0 /state/partition1/kvm/disks/vm-vc1-1.vda vm=vm-vc1-1'>
    The image of another machine.
    </example>
    <related>list host image</related>
    <related>remove host image</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Give the image to the machine."""
        from rocks.machine.images import give_image  # hosts are reached by heavy libraries

        hosts, (path,) = self.requireArguments("file")
        machine = self.fillText("vm")
        if not machine:
            self.abort("must supply vm=, the virtual machine that the image is given to")
        give_image(self.db, self.getOneContainer(hosts), path, self.getOneHostname([machine]))
