"""`rocks set host membership`"""

from rocks.commands._shared.setters import HostSetter
from rocks.inventory.hosts import set_membership


class Command(HostSetter):
    """
    Change the membership of hosts.

    <shared command='set host rack' names='host'/>
    <arg type='string' name='membership'>
    Name of the membership. Alternative form: membership=MEMBERSHIP.
    </arg>

    <example cmd='set host membership compute-0-0 "VM Container"'>
    Make the host a container of virtual machines.
    </example>
    <example cmd='set host membership compute-0-0 Compute'>
    Back to an ordinary compute.
    </example>

    <related>list host membership</related>
    """

    argument = "membership"
    apply = set_membership
