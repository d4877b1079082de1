"""`rocks report host vm config`"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import rocks.commands
from rocks.commands._shared.vm_filters import filters_of
from rocks.core.terminal import many_lines
from rocks.inventory.loaded_host_records import which_are_vms
from rocks.machine.cd import with_media
from rocks.machine.documents import adapt_documents, describe_vms
from rocks.machine.record import load_vms

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rocks.inventory.records import VirtualMachine

_AS_RECORDED = "the XML is the one in the database, for KVM and with Debian's emulator"

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    Print the libvirt XML document that libvirt would get at the next start of a virtual machine.

    The machine's host is asked: without a working KVM, guests there get the type qemu and the CPU mode maximum, and
    the emulator is that of its distribution. If the host does not answer, or an ordinary user asks, a warning says
    so, and the document is the one in the database: for KVM, and with the emulator of Debian. At the start the
    lease and the packet filters (metadata), identities of disks and PCI addresses of virtual functions are added.
    The document of a running machine is that of virsh dumpxml on its host.

    <arg type='string' name='host' repeat='1'>
    Virtual machines; with several, the first line of each document begins with the name of the machine.
    </arg>

    <param type='bool' name='adapted' default='yes'>
    no: print the documents in the database, and ask no host.
    </param>

    <example cmd='report host vm config vm-vc1-0'>
    The document of one machine.
    </example>
    <example cmd='report host vm config vm-vc1-0 adapted=no'>
    The same, without asking its host.
    </example>

    <related>list host vm</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the documents."""
        stored = load_vms(self.db, which_are_vms(self.db, self.getSomeHostnames(args)))
        machines = with_media(self.db, stored)
        described = describe_vms(self.db, machines, filters_of(self))
        documents = {name: "\n".join(lines) for name, lines in described.items()}
        if documents and self.fillFlag("adapted", True):
            documents = self._adapted(machines, documents)
        for name, text in documents.items():
            prefix = f"{name}: " if len(documents) > 1 else ""
            self.addText(prefix + text + "\n")

    def _adapted(self, machines: Sequence[VirtualMachine], documents: Mapping[str, str]) -> dict[str, str]:
        """The documents as the hosts would pass them to libvirt; a warning says which are not."""
        if os.geteuid() != 0:
            self.notify(f"Warning: {_AS_RECORDED}, because only root can ask the hosts: run this as root")
            return dict(documents)
        adapted, failed = adapt_documents(self.db, machines, documents)
        for host, error in failed.items():
            self.notify(f"Warning: {_AS_RECORDED}, for machines on {host}, which cannot be asked: {error}")
        for vm in machines:
            if vm.container is None:
                self.notify(f"Warning: {_AS_RECORDED}: {vm.name} has no physical host")
        return {name: many_lines(text) for name, text in adapted.items()}
