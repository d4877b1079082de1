"""`rocks set host name`"""

from rocks.actions.hosts import rename_host
from rocks.commands._shared.setters import OneHostSetter


class Command(OneHostSetter):
    """
    Rename a host. Its attributes, interfaces and other data remain.

    <arg type='string' name='host'>
    The host, by name or any other selector of one host.
    </arg>
    <arg type='string' name='name'>
    New name, without a domain. Alternative form: name=NAME.
    </arg>

    <example cmd='set host name compute-0-0 node1'>
    Rename compute-0-0 to node1.
    </example>
    """

    argument = "name"
    apply = rename_host
