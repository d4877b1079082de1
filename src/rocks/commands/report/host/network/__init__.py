"""`rocks report host network`"""

import rocks.commands
from rocks.commands._shared.file_blocks import add_file_block, report_files
from rocks.inventory.records import Host
from rocks.network.host_network_files import NETWORK, network_lines
from rocks.network.host_network_plan import default_route, primary_network
from rocks.network.networks import load_networks, network_names


class Command(rocks.commands.Command):
    """
    Report the files of the names of hosts, as text for rocks report script. For a host with RPM packages: the name
    with the domain of its primary network (the attribute primary_net) and its gateway. For one with Debian packages:
    its name; its gateway is in the files of rocks report host interface.

    <shared names='any-hosts'/>

    <example cmd='report host network compute-0-0'>
    The files of one host.
    </example>
    <example cmd='report host network compute'>
    All computes.
    </example>

    <related>report host interface</related>
    <related>report host route</related>
    <related>sync host network</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the files of each host."""
        networks = load_networks(self.db, network_names(self.db))
        zones = {network.name.lower(): network.dns_zone for network in networks}

        def add_files(host: Host) -> None:
            if host.attribute("packaging") != "rpm":
                add_file_block(self, host.name, "/etc/hostname", [host.name])
                return
            primary = primary_network(host).lower()
            on_primary = (
                one.name for one in host.interfaces if one.name and (one.subnet or "").lower() == primary
            )
            zone = zones.get(primary, "")
            full_name = next(on_primary, host.name) + (f".{zone}" if zone else "")
            add_file_block(self, host.name, NETWORK, network_lines(full_name, *default_route(host)))
            add_file_block(self, host.name, "/etc/hostname", [full_name])

        report_files(self, args, add_files)
