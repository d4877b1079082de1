"""`rocks set host interface ip`"""

from rocks.commands._shared.setters import OneInterfaceSetter
from rocks.network.interfaces import set_ip


class Command(OneInterfaceSetter):
    """
    Set the IPv4 address of an interface.

    <shared names='one-host'/>
    <arg type='string' name='iface'>
    The interface, by device or MAC address. Alternative form: iface=IFACE.
    </arg>
    <arg type='string' name='ip'>
    IPv4 address, inside the interface's network and not used by another interface; NULL clears it. Alternative
    form: ip=IP.
    </arg>

    <example cmd='set host interface ip compute-0-0 eth0 10.1.255.254'>
    Set the address of eth0.
    </example>
    <example cmd='set host interface ip vm-container-0-0 eth0 10.1.255.253'>
    The address of a VM container.
    </example>

    <related>list host interface</related>
    """

    argument = "ip"
    apply = set_ip
