"""`rocks remove host sec_attr`"""

from rocks.commands._shared.secrets import SecretRemoval


class Command(SecretRemoval):
    """
    Remove a secret attribute of hosts; a global one remains. A missing attribute is not an error.

    <arg type='string' name='host' repeat='1'>
    Hosts, by name or any other selector.
    </arg>
    <arg type='string' name='attr'>
    Name of the attribute. Alternative form: attr=NAME.
    </arg>

    <example cmd='remove host sec_attr vm-container-0-0 vm_fence_command'>
    Remove it from one host.
    </example>
    <example cmd='remove host sec_attr vm-container vm_fence_command'>
    All VM containers.
    </example>

    <related>set host sec_attr</related>
    <related>list host sec_attr</related>
    """

    is_of_hosts = True
