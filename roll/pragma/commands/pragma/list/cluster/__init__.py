"""`rocks pragma list cluster`"""

import rocks.commands

from ..._shared.drivers import driver_of
from ..._shared.site import read_settings

RollName = "pragma"


class Command(rocks.commands.Command):
    """
    List virtual clusters with their computes, states and public addresses.

    <arg optional='1' type='string' name='cluster' repeat='1' default='all' of='virtualfrontend'>
    Frontends.
    </arg>
    <param type='string' name='request' default='none'>
    Only the cluster that was booted by the request of this name (rocks pragma boot).
    </param>

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
        driver, request = driver_of(self, read_settings(self)), self.fillText("request")
        names = driver.requested(request) if request else args
        listed = driver.status(names) if names or not request else []
        notes, self.notes = self.notes, []
        for line in notes:  # why states are unknown
            self.notify(line)
        in_json = self.fillFlag("json")
        self.beginOutput()
        for one in listed:
            owner = one.cluster if in_json or not one.compute else ""
            self.addOutput(owner, (one.compute or None, one.state, one.address or None))
        self.endOutput(header=("frontend", "compute nodes", "status", "public ip"), trimOwner=False)
