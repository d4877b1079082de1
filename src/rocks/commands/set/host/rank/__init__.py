"""`rocks set host rank`"""

from rocks.commands._shared.setters import HostSetter
from rocks.inventory.hosts import set_rank


class Command(HostSetter):
    """
    Set the position of hosts in their rack.

    <shared command='set host rack' names='host'/>
    <arg type='int' name='rank' unit='none'>
    Position in the rack. Alternative form: rank=RANK.
    </arg>

    <example cmd='set host rank compute-0-0 7'>
    Record that the host has rank 7.
    </example>
    <example cmd='set host rank vm-container-0-0 3'>
    A VM container.
    </example>

    <related>set host rack</related>
    """

    argument = "rank"
    apply = set_rank
