"""`rocks pragma clean`"""

import rocks.commands
from rocks.core.errors import StateError
from rocks.core.terminal import one_line

from .._shared.drivers import OFF, UnknownClusterError, check_cluster, driver_of
from .._shared.site import read_settings

RollName = "pragma"


class Command(rocks.commands.Command):
    """
    Remove a virtual cluster that is shut down, with the disks of its machines; its address and VLAN become free. A
    cluster that does not exist is no error, so the command can be repeated.

    <arg type='string' name='cluster' of='virtualfrontend'>
    The frontend.
    </arg>
    <shared names='dry-run'/>

    <example cmd='pragma clean dock6'>
    Remove it, and what its disks have.
    </example>
    <example cmd='pragma clean dock6 dry-run=yes'>
    Print what would be removed.
    </example>
    <related>pragma shutdown</related>
    <related>remove cluster</related>
    """

    AdviceAfterInterrupt = "the same command continues"

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Remove the cluster. StateError while a machine of it may run."""
        driver = driver_of(self, read_settings(self))
        try:
            listed = check_cluster(self, driver, args)
        except UnknownClusterError:
            self.notify(f"there is no cluster {one_line(args[0])[:80]}, so nothing is removed")
            return
        driver.check_own(args[0], "remove")
        running = [one.compute or one.cluster for one in listed if one.state not in OFF]
        if running:
            elsewhere = {one.compute for one in driver.status() if one.cluster != args[0]}
            shared = [name for name in running if name in elsewhere]
            first = (
                f"rocks stop host vm {' '.join(shared)} first: a shutdown leaves what another cluster has, too"
                if shared == running
                else f"rocks pragma shutdown {args[0]} first"
            )
            raise StateError(f"{args[0]} is not removed: {', '.join(running[:5])} may run; {first}")
        driver.clean(args[0])
