"""`rocks set host interface vlan`"""

from rocks.cluster.interfaces import cluster_lines
from rocks.commands._shared.carrier_setters import CarrierSetter
from rocks.inventory.cluster_records import own_clusters
from rocks.network.interfaces import set_vlan, shared_lines


class Command(CarrierSetter):
    """
    Set the VLAN of hosts' interfaces. A virtual frontend does not get a VLAN that another cluster
    uses, and does not leave computes of its cluster on its own. A line names another machine that is on
    the VLANs of two clusters then, or of another cluster than before; one that runs keeps its VLAN until
    its next start. Another line names the virtual machines that are connected by the interface of a physical
    host, and would not be at their next start, with the command that restores it.

    <shared command='set host interface channel' names='host,iface'/>
    <arg type='string' name='vlan'>
    VLAN id, 1 to 4094; 0 or NULL for none. Alternative form: vlan=VLAN.
    </arg>

    <example cmd='set host interface vlan compute-0-0 eth0 3'>
    Tag the frames of eth0 with VLAN 3.
    </example>
    <example cmd='set host interface vlan compute eth0 100'>
    All computes.
    </example>

    <related>list host interface</related>
    """

    argument = "vlan"
    apply = set_vlan

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Store the VLAN, and name machines whose clusters change, or that are on the VLANs of two."""
        hosts, (_, vlan) = self.requireArguments("iface", self.argument)
        names = self.getSomeHostnames(hosts)
        clusters = own_clusters(self.db, names)
        super().run(params, args)
        lines = cluster_lines(self.db, names, clusters, is_synced=False)
        for line in (*lines, *shared_lines(self.db, names, vlan)):
            self.notify(line)
