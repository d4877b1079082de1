"""`rocks set host cpus`"""

from rocks.commands._shared.setters import HostSetter
from rocks.inventory.hosts import set_cpus


class Command(HostSetter):
    """
    Set the number of CPUs of hosts.

    <shared command='set host rack' names='host'/>
    <arg type='int' name='cpus' unit='CPUs'>
    Number of CPUs, 1 to 4096; of a virtual machine to 255. Alternative form: cpus=CPUS.
    </arg>

    <example cmd='set host cpus compute-0-0 4'>
    Set it to four.
    </example>
    <example cmd='set host cpus compute 8'>
    All computes.
    </example>

    <related>list host</related>
    """

    argument = "cpus"
    apply = set_cpus
