"""`rocks remove host image`"""

import rocks.commands

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    Remove a disk image that no virtual machine has as its disk: one of a removed machine, or of nobody. A block
    device that belonged to a machine is erased, and can be given to another one afterwards.

    The attribute vm_image_erase of the host decides about the blocks: discard (default) frees them, overwrite
    writes zeros first. An image that a domain or process of the host uses is not removed. The small disk for
    cloud-init beside the image of a removed machine is removed with it.

    <shared command='set host image' names='host,file'/>
    <shared names='dry-run'/>

    <example cmd='remove host image vm-container-0-0 /state/partition1/kvm/disks/vm-vc1-0.vda'>
    Remove the image of a removed machine.
    </example>
    <example cmd='remove host image vm-container-0-0 /state/partition1/kvm/disks/vm-vc1-1.vda'>
    The image of another machine.
    </example>
    <related>list host image</related>
    <related>remove host vm</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Remove the image."""
        from rocks.machine.images import remove_image  # hosts are reached by heavy libraries

        hosts, (path,) = self.requireArguments("file")
        remove_image(self.db, self.getOneHostname(hosts), path)
