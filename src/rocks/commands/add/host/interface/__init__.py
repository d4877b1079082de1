"""`rocks add host interface`"""

import rocks.commands
from rocks.cluster.interfaces import cluster_lines
from rocks.inventory.cluster_records import own_clusters
from rocks.network.interfaces import InterfaceParameters, add_interface, shared_lines


class Command(rocks.commands.Command):
    """
    Add an interface to a host. The command checks all values first and adds nothing if one is invalid. A
    virtual frontend does not get a VLAN that another cluster uses. A line names another machine that is on the
    VLANs of two clusters then, or of another cluster than before.

    <shared names='one-host'/>
    <arg type='string' name='iface'>
    The interface: a device such as eth1, or a MAC address. Alternative form: iface=IFACE.
    </arg>
    <param type='string' name='ip' default='none'>
    IPv4 address: inside the network and not used by another interface.
    </param>
    <param type='string' name='mac' default='none'>
    MAC address that no other interface has.
    </param>
    <param type='string' name='module' default='none'>
    Driver.
    </param>
    <param type='string' name='name' default='the name of the host, if a network is given'>
    Name of the host on that network.
    </param>
    <param type='string' name='subnet' default='none'>
    Name of the network.
    </param>
    <param type='int' name='vlan' default='0' unit='none'>
    VLAN id, 1 to 4094; 0: no VLAN.
    </param>

    <example cmd='add host interface compute-0-0 eth1 ip=10.1.0.7 subnet=private mac=00:11:22:33:44:55'>
    Add a second interface, on the network private.
    </example>
    <example cmd='add host interface compute-0-0 eth2 subnet=public vlan=100 name=storage-0-0'>
    An interface on VLAN 100 of the network public, with a name of its own.
    </example>

    <related>list host interface</related>
    <related>remove host interface</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Add the interface."""
        hosts, (iface,) = self.requireArguments("iface")
        values = self.fillTexts("ip", "mac", "module", "name", "subnet", "vlan")
        host, parameters = self.getOneHostname(hosts), InterfaceParameters(iface, *values)
        clusters = own_clusters(self.db, [host]) if parameters.vlan else {}
        add_interface(self.db, host, parameters)
        if parameters.vlan:
            lines = cluster_lines(self.db, [host], clusters, is_synced=True)
            for line in (*lines, *shared_lines(self.db, [host], parameters.vlan)):
                self.notify(line)
