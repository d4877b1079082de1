"""`rocks set host installaction`"""

from rocks.commands._shared.setters import HostSetter
from rocks.install.boot.actions import set_install_action


class Command(HostSetter):
    """
    Set the boot action for installing hosts.

    <shared command='set host rack' names='host'/>
    <arg type='string' name='action'>
    Name of the boot action; none for no action. Alternative form: action=ACTION.
    </arg>
    <shared names='dry-run'/>

    <example cmd='set host installaction compute-0-0 install'>
    Install the host with the standard kernel.
    </example>
    <example cmd='set host installaction compute install'>
    All computes.
    </example>

    <related>set host runaction</related>
    """

    argument = "action"
    apply = set_install_action
