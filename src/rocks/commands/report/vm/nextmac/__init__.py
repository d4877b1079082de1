"""`rocks report vm nextmac`"""

import rocks.commands
from rocks.machine.add import next_mac

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    Print the MAC address that the next virtual machine would receive. The address is not reserved.

    <example cmd='report vm nextmac'>
    Print an address such as 76:77:6e:80:00:00.
    </example>

    <related>add host vm</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the address."""
        self.addText(next_mac(self.db) + "\n")
