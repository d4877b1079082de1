"""`rocks report host vm virt_type`"""

import rocks.commands
from rocks.machine.listing_records import virt_types

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    Print the type of virtualisation of virtual machines.

    <shared names='machines'/>

    <example cmd='report host vm virt_type vc1'>
    Prints hvm.
    </example>
    <example cmd='report host vm virt_type vm-vc1-0'>
    One machine.
    </example>

    <related>list host vm</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one line per machine."""
        self.addTable((), virt_types(self.db, self.getSomeHostnames(args)), padChar="")
