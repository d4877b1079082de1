"""`rocks remove host interface`"""

import rocks.commands
from rocks.cluster.interfaces import carrier_lines, cluster_lines, read_carriers
from rocks.inventory.cluster_records import own_clusters
from rocks.network.interfaces import remove_interfaces


class Command(rocks.commands.Command):
    """
    Remove interfaces of hosts from the database. A virtual frontend keeps the one by which computes are of its
    cluster. A line names each compute that is of another cluster then, or of none, and each interface of a physical
    host that virtual machines on it use, or the whole site, with the command that restores it. The adapters of a bond
    that is removed belong to no bond then, and get no address; a line names them.

    <shared names='hosts'/>
    <arg type='string' name='iface'>
    The interface, by device or MAC address; % matches any text. Alternative form: iface=IFACE.
    </arg>

    <example cmd='remove host interface compute-0-0 eth1'>
    Remove one interface.
    </example>
    <example cmd='remove host interface compute eth1'>
    The interface of all computes.
    </example>

    <related>add host interface</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Remove the interfaces."""
        hosts, (iface,) = self.requireArguments("iface")
        names = self.getSomeHostnames(hosts)
        clusters, carriers = own_clusters(self.db, names), read_carriers(self.db, names)
        bonds = remove_interfaces(self.db, names, iface)
        lines = cluster_lines(self.db, names, clusters, is_synced=True)
        for line in (*bonds, *lines, *carrier_lines(self.db, names, carriers)):
            self.notify(line)
