"""`rocks set network mtu`"""

from rocks.commands._shared.setters import NetworkSetter
from rocks.network.networks import set_network_mtu


class Command(NetworkSetter):
    """
    Set the MTU of networks.

    <arg type='string' name='network' repeat='1'>
    Networks; % is a wildcard.
    </arg>
    <arg type='int' name='mtu' unit='bytes'>
    MTU of its links, 576 to 65535. Alternative form: mtu=MTU.
    </arg>

    <example cmd='set network mtu optiputer 9216'>
    Enable jumbo frames on the network.
    </example>
    <example cmd='set network mtu optiputer storage 1500'>
    Two networks.
    </example>

    <related>add network</related>
    <related>list network</related>
    """

    argument = "mtu"
    apply = set_network_mtu
