"""`rocks set host interface subnet`"""

from rocks.commands._shared.carrier_setters import CarrierSetter
from rocks.network.interfaces import set_subnet


class Command(CarrierSetter):
    """
    Assign hosts' interfaces to a network. An interface without a name receives the name of its host; a device vlanN,
    the entry of a VLAN that a host carries, does not. A line names the virtual machines that are connected by the
    interface of a physical host, and would not be at their next start, or the whole site, with the command that
    restores it.

    <shared command='set host interface channel' names='host,iface'/>
    <arg type='string' name='subnet'>
    Name of the network; NULL removes the assignment. Alternative form: subnet=SUBNET.
    </arg>

    <example cmd='set host interface subnet compute-0-0 eth0 private'>
    Assign eth0 to the network private.
    </example>
    <example cmd='set host interface subnet compute eth1 public'>
    All computes.
    </example>

    <related>list host interface</related>
    """

    argument = "subnet"
    apply = set_subnet
