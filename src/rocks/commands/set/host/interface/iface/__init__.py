"""`rocks set host interface iface`"""

from rocks.commands._shared.setters import OneInterfaceSetter
from rocks.network.interfaces import set_device


class Command(OneInterfaceSetter):
    """
    Set the device of an interface that is identified by its MAC address.

    <shared command='set host interface ip' names='host'/>
    <arg type='string' name='mac'>
    MAC address of the interface. Alternative form: mac=MAC.
    </arg>
    <arg type='string' name='iface'>
    Device, such as eth1; NULL clears it. Alternative form: iface=IFACE.
    </arg>

    <example cmd='set host interface iface compute-0-0 00:11:22:33:44:55 eth1'>
    Name the device of this MAC address eth1.
    </example>
    <example cmd='set host interface iface compute-0-0 00:11:22:33:44:55 eth2'>
    Another name of the same interface.
    </example>

    <related>list host interface</related>
    """

    key = "mac"
    argument = "iface"
    apply = set_device
