"""`rocks remove host roll`"""

from rocks.commands._shared.rolls import HostRollCommand
from rocks.install.rolls.roll_records import remove_host_rolls


class Command(HostRollCommand):
    """
    Remove rolls from those that are chosen for a host.

    <shared names='one-host'/>
    <arg type='string' optional='1' name='roll' repeat='1' default='all'>
    Rolls; % is a wildcard.
    </arg>
    <shared command='add host roll' names='version,arch'/>

    <example cmd='remove host roll frontend-0-0-0 kvm'>
    Remove one roll.
    </example>
    <example cmd='remove host roll frontend-0-0-0 base version=7.0'>
    One version only.
    </example>

    <related>list host roll</related>
    <related>list roll</related>
    """

    needs_rolls = False
    apply = remove_host_rolls
