"""`rocks report nextip`"""

import rocks.commands
from rocks.core.names import printable
from rocks.core.near_names import did_you_mean
from rocks.inventory.address_records import reserved_ips
from rocks.network import interfaces
from rocks.network.interface_rules import check_ip
from rocks.network.network_rules import next_addresses
from rocks.network.networks import network_names


class Command(rocks.commands.Command):
    """
    Print the next free address of a network, which is no gateway (also of a route), name server, BMC or Slurm
    controller (slurm_server). The address is not reserved.

    <arg type='string' name='subnet'>
    Name of the network.
    </arg>
    <param type='int' name='increment' default='-1' range='-65536..65536' unit='addresses'>
    Step between candidates: -1 counts down, 1 up.
    </param>
    <param type='string' name='baseip' default="the broadcast address; the network's address if increment is
          positive">
    First candidate.
    </param>

    <example cmd='report nextip private'>
    The highest free address of the network private.
    </example>
    <example cmd='report nextip private increment=1 baseip=10.1.0.10'>
    The lowest free address from 10.1.0.10.
    </example>

    <related>add host interface</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the address."""
        _, name = self.fillArgument("subnet")
        base = self.fillText("baseip")
        if not name:
            self.abort("must supply a subnet")
        increment = self.fillNumber("increment")
        if increment == 0:
            self.abort('increment "0" must be a step other than 0')
        if base:
            check_ip(base)
        found = interfaces.find_subnet(self.db, name)
        if found is None:
            meant = did_you_mean(name, network_names(self.db))
            self.abort(
                f"subnet {printable(name)} is not valid. {meant}rocks list network lists the valid ones."
            )
        used = [*interfaces.used_ips(self.db), *reserved_ips(self.db)]
        (address,) = next_addresses(found[1], used, 1, increment, base or None)
        self.addText(address + "\n")
