"""`rocks pragma list cluster`"""

import rocks.commands

from ..._shared.drivers import driver_of
from ..._shared.site import read_settings

RollName = "pragma"


class Command(rocks.commands.Command):
    """
    List virtual clusters with their computes, states and public addresses.

    <arg optional='1' type='string' name='cluster' repeat='1' default='all' of='host'>
    Frontends.
    </arg>

    <example cmd='pragma list cluster'>
    All virtual clusters.
    </example>
    <example cmd='pragma list cluster dock6'>
    One, for a program that waits until all lines have active.
    </example>
    <related>pragma boot</related>
    <related>list cluster</related>
    """

    IsAudited = False

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print a row for each machine; the public address is that of the frontend."""
        listed = driver_of(self, read_settings(self)).status(args)
        in_json = self.fillFlag("json")
        self.beginOutput()
        for one in listed:
            owner = one.cluster if in_json or not one.compute else ""
            self.addOutput(owner, (one.compute or None, one.state, one.address or None))
        self.endOutput(header=("frontend", "compute nodes", "status", "public ip"), trimOwner=False)
