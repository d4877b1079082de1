"""`rocks set host interface module`"""

from rocks.commands._shared.setters import InterfaceSetter
from rocks.network.interfaces import set_module


class Command(InterfaceSetter):
    """
    Set the driver of hosts' interfaces.

    <arg type='string' name='host' repeat='1'>
    Hosts, by name or any other selector.
    </arg>
    <arg type='string' name='iface'>
    The interface, by device or MAC address. Alternative form: iface=IFACE.
    </arg>
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
