"""`rocks report host vm config`"""

import rocks.commands
from rocks.actions.vm_documents import describe_vms
from rocks.commands._shared.vm_filters import filters_of
from rocks.database.vms import load_vms, which_are_vms

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    Print the libvirt XML document that the next start of a virtual machine sends to its host.

    The document assumes that KVM and the emulator's path of Debian work there; the host is not asked. On a host without
    KVM the start replaces the type kvm by qemu and the CPU mode by maximum; on another distribution it replaces the
    emulator. It adds the lease and the packet filters (metadata) and the PCI addresses of virtual functions. The
    document of a running machine is that of virsh dumpxml on its host.

    <arg type='string' name='host' repeat='1'>
    Virtual machines; with several, the first line of each document begins with the name of the machine.
    </arg>

    <example cmd='report host vm config vm-vc1-0'>
    The document of one machine.
    </example>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the documents."""
        machines = load_vms(self.db, which_are_vms(self.db, self.getSomeHostnames(args)))
        documents = describe_vms(self.db, machines, filters_of(self))
        for name, lines in documents.items():
            prefix = f"{name}: " if len(documents) > 1 else ""
            self.addText(prefix + "\n".join(lines) + "\n")
