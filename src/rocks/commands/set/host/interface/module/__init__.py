"""`rocks set host interface module`"""

from rocks.commands._shared.setters import InterfaceSetter
from rocks.network.interfaces import set_module


class Command(InterfaceSetter):
    """
    Set the driver of hosts' interfaces.

    <shared command='set host interface channel' names='host,iface'/>
    <arg type='string' name='module'>
    Name of the driver; NULL clears it. Alternative form: module=MODULE.
    </arg>

    <example cmd='set host interface module compute-0-0 eth0 e1000'>
    Use the driver e1000.
    </example>
    <example cmd='set host interface module compute eth0 virtio_net'>
    All computes.
    </example>

    <related>list host interface</related>
    """

    argument = "module"
    apply = set_module
