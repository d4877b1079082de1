"""`rocks set host interface mac`"""

from rocks.commands._shared.setters import OneInterfaceSetter
from rocks.network.interfaces import set_mac


class Command(OneInterfaceSetter):
    """
    Set the MAC address of an interface.

    <shared command='set host interface ip' names='host,iface'/>
    <arg type='string' name='mac'>
    MAC address that no other interface has; NULL clears it. Alternative form: mac=MAC.
    </arg>

    <example cmd='set host interface mac compute-0-0 eth0 00:11:22:33:44:55'>
    Record the MAC address of a replaced adapter.
    </example>
    <example cmd='set host interface mac vm-container-0-0 eth0 00:11:22:33:44:66'>
    The interface of a VM container.
    </example>

    <related>list host interface</related>
    """

    argument = "mac"
    apply = set_mac
