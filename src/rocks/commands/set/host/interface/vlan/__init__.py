"""`rocks set host interface vlan`"""

from rocks.commands._shared.setters import InterfaceSetter
from rocks.network.interfaces import set_vlan, shared_lines


class Command(InterfaceSetter):
    """
    Set the VLAN of hosts' interfaces. A virtual frontend does not get a VLAN that another cluster
    uses. A line names another machine that is on the VLANs of two clusters then.

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
        """Store the VLAN, and name machines that are on the VLANs of two clusters."""
        super().run(params, args)
        hosts, (_, vlan) = self.requireArguments("iface", self.argument)
        for line in shared_lines(self.db, self.getSomeHostnames(hosts), vlan):
            self.notify(line)
