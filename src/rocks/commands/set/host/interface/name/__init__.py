"""`rocks set host interface name`"""

from rocks.commands._shared.setters import OneInterfaceSetter
from rocks.network.interfaces import set_name


class Command(OneInterfaceSetter):
    """
    Set the name of a host on the network of an interface.

    <shared command='set host interface ip' names='host,iface'/>
    <arg type='string' name='name'>
    Name without the domain, which the network adds; NULL resets it to the name of the host. Alternative form:
    name=NAME.
    </arg>

    <example cmd='set host interface name compute-0-0 eth0 storage-0-0'>
    Name the host storage-0-0 on that network.
    </example>
    <example cmd='set host interface name vm-container-0-0 eth0 storage-0-1'>
    The interface of a VM container.
    </example>

    <related>list host interface</related>
    """

    argument = "name"
    apply = set_name
