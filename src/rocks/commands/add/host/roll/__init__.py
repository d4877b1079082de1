"""`rocks add host roll`"""

from rocks.commands._shared.rolls import HostRollCommand
from rocks.install.rolls.roll_records import add_host_rolls


class Command(HostRollCommand):
    """
    Choose rolls for the frontend of a virtual cluster, besides those that it has.

    <shared names='one-host'/>
    <arg type='string' name='roll' repeat='1'>
    Rolls that were added to this site; % is a wildcard.
    </arg>
    <param type='string' name='version' default='all' of='rollversion'>
    Only rolls of this version; % is a wildcard.
    </param>
    <param type='string' name='arch' default='all' of='rollarch'>
    Only rolls for this architecture; % is a wildcard.
    </param>

    <example cmd='add host roll frontend-0-0-0 kvm'>
    Choose all versions of the roll kvm.
    </example>
    <example cmd='add host roll frontend-0-0-0 base kernel version=7.0'>
    Two rolls of one version.
    </example>

    <related>list host roll</related>
    <related>list roll</related>
    """

    apply = add_host_rolls
