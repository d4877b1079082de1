"""`rocks sync vm lease`"""

import rocks.commands
from rocks.commands._shared.interrupt import LOOK_AT_LEASES
from rocks.leases.after_restore import compare_leases
from rocks.leases.fences import waiting_fences

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    Ask all hosts which virtual machines run there, record their leases, and begin a new lease epoch. Leases of
    earlier epochs start nothing any more on these hosts. When the database has all that the hosts report, no lease is
    changed. The memory of the hosts is recorded, too.

    The first start after a restore of the database does the same. Use this command when that start names hosts that do
    not answer, and after the frontend as a whole, with its files in /var/lib/rocks, was restored from a copy.

    <arg type='string' name='host' optional='1' repeat='1' default='none'>
    Hosts that are certainly off, with host-off=yes. They are not asked. When one returns, domains of machines that
    the database does not place there are destroyed.
    </arg>
    <param type='bool' name='host-off' default='no'>
    yes: you have verified that the named hosts are off.
    </param>
    <param type='string' name='reason' default='none'>
    Why they are off; it is required with host-off and written to the system log.
    </param>
    <shared names='dry-run'/>

    <example cmd='sync vm lease'>
    All hosts answer.
    </example>
    <example cmd='sync vm lease vm-container-0-1 host-off=yes reason="power supply burnt"'>
    One host is off for good.
    </example>
    <related>stop host vm</related>
    <related>list host vm lease</related>
    <related>remove host vm fence</related>
    """

    AdviceAfterInterrupt = LOOK_AT_LEASES

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Compare, and print what was found."""
        is_off = self.fillFlag("host-off")
        if is_off != bool(args) or is_off != bool(self.fillText("reason", "").strip()):
            self.abort('hosts are named only together with host-off=yes and reason="…"')
        compare_leases(self.db, self.notify, args)
        for line in waiting_fences(self.db, args):
            self.notify(line)
        self.showNow("the leases are compared with what the hosts report\n")
