"""`rocks set host interface channel`"""

from rocks.commands._shared.setters import InterfaceSetter
from rocks.network.interfaces import set_channel


class Command(InterfaceSetter):
    """
    Set the channel of hosts' interfaces.

    <shared names='hosts'/>
    <arg type='string' name='iface'>
    The interface, by device or MAC address. Alternative form: iface=IFACE.
    </arg>
    <arg type='string' name='channel'>
    The channel, such as the name of the bond to which the interface belongs; NULL clears it. Alternative form:
    channel=CHANNEL.
    </arg>

    <example cmd='set host interface channel compute-0-0 eth0 bond0'>
    Make eth0 part of bond0.
    </example>
    <example cmd='set host interface channel compute-0-0 eth1 bond0'>
    Another interface of the same bond.
    </example>

    <related>list host interface</related>
    """

    argument = "channel"
    apply = set_channel
