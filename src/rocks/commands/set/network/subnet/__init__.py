"""`rocks set network subnet`"""

from rocks.commands._shared.setters import NetworkSetter
from rocks.network.networks import set_network_subnet


class Command(NetworkSetter):
    """
    Set the network address of networks.

    <shared command='set network mtu' names='network'/>
    <arg type='string' name='subnet'>
    New network address. It must match the netmask, and every interface on the network must be inside.
    Alternative form: subnet=SUBNET.
    </arg>

    <example cmd='set network subnet optiputer 192.168.2.0'>
    Move the network to another range of the same size.
    </example>
    <example cmd='set network subnet storage 10.10.0.0'>
    Another network.
    </example>

    <related>add network</related>
    <related>list network</related>
    """

    argument = "subnet"
    apply = set_network_subnet
