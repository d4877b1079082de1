"""`rocks set host sriov`"""

import rocks.commands
from rocks.actions.sriov import set_vfs


class Command(rocks.commands.Command):
    """
    Say how many virtual functions (SR-IOV) an adapter of hosts gives to virtual machines. An interface of a virtual
    machine asks for one by its options (rocks set host interface options VM IFACE sriov), and gets it at the next
    start: a function of the device that the interface would hang on otherwise, with the MAC address and VLAN of the
    interface. The host makes the functions when the first is wanted, or at once by rocks sync host sriov.

    <arg type='string' name='host' repeat='1'>
    Physical hosts, by name or any other selector.
    </arg>
    <arg type='string' name='iface'>
    The adapter: its device or its MAC address. May be given as iface=…
    </arg>
    <arg type='int' name='functions'>
    How many; 0: none any more. May be given as functions=…
    </arg>

    <example cmd='set host sriov vm-container-0-0 eth1 8'>
    Eight virtual machines on that host may have a function of eth1.
    </example>
    <example cmd='set host sriov vm-container eth1 0'>
    No VM container gives functions of eth1.
    </example>

    <related>list host sriov</related>
    <related>sync host sriov</related>
    <related>set host interface options</related>
    """

    RefusesUnknownParameters = True

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Record it."""
        hosts, iface, functions = self.fillPositionalArgs(("iface", "functions"))
        if not iface:
            self.abort("must supply iface, the adapter")
        if not functions:
            self.abort("must supply functions, their number")
        set_vfs(self.db, self.getSomeHostnames(hosts), iface, functions)
