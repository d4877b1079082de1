"""`rocks set host rack`"""

from rocks.commands._shared.setters import HostSetter
from rocks.inventory.hosts import set_rack


class Command(HostSetter):
    """
    Set the rack of hosts.

    <shared names='hosts'/>
    <arg type='int' name='rack' unit='none'>
    Number of the rack. Alternative form: rack=RACK.
    </arg>

    <example cmd='set host rack compute-0-0 1'>
    Record that the host is in rack 1.
    </example>
    <example cmd='set host rack compute 2'>
    All computes.
    </example>

    <related>set host rank</related>
    """

    argument = "rack"
    apply = set_rack
