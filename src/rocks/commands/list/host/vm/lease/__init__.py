"""`rocks list host vm lease`"""

from __future__ import annotations

import rocks.commands
from rocks.commands._framework.arguments import bool2str
from rocks.core.errors import StateError
from rocks.core.names import is_like
from rocks.leases import lease as leases

HEADER = ("vm-host", "host", "state", "token", "known", "host-known")

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    List the leases of virtual machines: the hosts on which they may be running. A machine that is not in the list
    can start on any host.

    STATE is starting, running, stopping or saved; fence means that the machine was taken over, and that the old
    host has not answered since. KNOWN is no for a machine that has been removed from the database while its
    host did not answer: its name and its disks stay in use until rocks stop host vm NAME has stopped it.
    HOST-KNOWN is no for a host that has been removed: it cannot end its fences; rocks remove host vm fence HOST
    removes them.

    <arg optional='1' type='string' name='name' repeat='1' default='all' of='lease'>
    Names of virtual machines, also of removed ones, or patterns such as vm-vc1-%.
    </arg>

    <example cmd='list host vm lease'>
    All leases of the site.
    </example>
    <example cmd='list host vm lease vm-vc1-0'>
    One machine.
    </example>
    <related>stop host vm</related>
    <related>remove host vm fence</related>
    <related>list host vm</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one row per lease and fence."""
        rows = leases.held_leases(self.db)
        for name in args:
            if "%" not in name and not any(is_like(row.name, name) for row in rows):
                raise StateError(f"{name} holds no lease: it runs on no host that this system knows of")
        self.beginOutput()
        for row in rows:
            known = row.is_known, row.host_is_known
            if not args or any(is_like(row.name, name) for name in args):
                self.addOutput(row.name, (row.host, row.state, row.token, *map(bool2str, known)))
        self.endOutput(header=HEADER, trimOwner=False)
