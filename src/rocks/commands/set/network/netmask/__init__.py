"""`rocks set network netmask`"""

from rocks.commands._shared.setters import NetworkSetter
from rocks.network.networks import set_network_netmask


class Command(NetworkSetter):
    """
    Set the netmask of networks.

    <shared command='set network mtu' names='network'/>
    <arg type='string' name='netmask'>
    New netmask. The subnet must match it, and every interface on the network must remain inside. Alternative
    form: netmask=NETMASK.
    </arg>

    <example cmd='set network netmask optiputer 255.255.255.128'>
    Double the size of the network.
    </example>
    <example cmd='set network netmask storage 255.255.255.0'>
    A smaller network.
    </example>

    <related>add network</related>
    <related>list network</related>
    """

    argument = "netmask"
    apply = set_network_netmask
