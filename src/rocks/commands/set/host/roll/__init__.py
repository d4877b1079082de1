"""`rocks set host roll`"""

from rocks.commands._shared.rolls import HostRollCommand
from rocks.install.rolls.roll_records import set_host_rolls


class Command(HostRollCommand):
    """
    Choose exactly these rolls for the frontend of a virtual cluster.

    <shared command='add host roll' names='host,roll,version,arch'/>

    <example cmd='set host roll frontend-0-0-0 kvm version=7.0'>
    Choose the roll kvm of one version, and no other roll.
    </example>
    <example cmd='set host roll frontend-0-0-0 kvm base version=7.0 arch=x86_64'>
    Two rolls of one version and architecture.
    </example>

    <related>list host roll</related>
    <related>list roll</related>
    """

    apply = set_host_rolls
