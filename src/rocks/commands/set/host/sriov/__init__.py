"""`rocks set host sriov`"""

from rocks.commands._shared.setters import InterfaceSetter
from rocks.network.sriov.adapters import set_vfs


class Command(InterfaceSetter):
    """
    Set the number of virtual functions (SR-IOV) that an adapter of hosts provides to virtual machines. An
    interface of a virtual machine requests a function by its options (rocks set host interface options VM IFACE
    sriov) and receives it at the next start: a function of the device to which the interface would otherwise be
    attached, with the MAC address and VLAN of the interface. The host creates the functions when a machine
    first requests one, or at once by rocks sync host sriov.

    <arg type='string' name='host' repeat='1'>
    Physical hosts, by name or any other selector.
    </arg>
    <arg type='string' name='iface'>
    The adapter, by device or MAC address. Alternative form: iface=IFACE.
    </arg>
    <arg type='int' name='functions' unit='functions'>
    Number of functions; 0 for none. Alternative form: functions=FUNCTIONS.
    </arg>

    <example cmd='set host sriov vm-container-0-0 eth1 8'>
    Let eight virtual machines on that host use a function of eth1.
    </example>
    <example cmd='set host sriov vm-container eth1 0'>
    Provide no functions of eth1 on any VM container.
    </example>

    <related>list host sriov</related>
    <related>sync host sriov</related>
    <related>set host interface options</related>
    """

    argument = "functions"
    apply = set_vfs
