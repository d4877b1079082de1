"""`rocks set host runaction`"""

from rocks.commands._shared.setters import HostSetter
from rocks.install.boot.actions import set_run_action


class Command(HostSetter):
    """
    Set the boot action for running hosts.

    <shared command='set host rack' names='host'/>
    <shared command='set host installaction' names='action'/>
    <shared names='dry-run'/>

    <example cmd='set host runaction compute-0-0 os'>
    Boot the host from its disk.
    </example>
    <example cmd='set host runaction compute os'>
    All computes.
    </example>

    <related>set host installaction</related>
    """

    argument = "action"
    apply = set_run_action
