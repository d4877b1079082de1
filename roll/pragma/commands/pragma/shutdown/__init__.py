"""`rocks pragma shutdown`"""

import rocks.commands

from .._shared.drivers import check_cluster, driver_of
from .._shared.site import read_settings

RollName = "pragma"


class Command(rocks.commands.Command):
    """
    Shut down all machines of a virtual cluster: its guests are asked to, and what runs after 60 seconds is powered off.
    If disks are on a NAS, the command waits until their changes are written back, at most half an hour. It names the
    images that take longer. A cluster that pragma did not boot is refused.

    <arg type='string' name='cluster' of='virtualfrontend'>
    The frontend.
    </arg>
    <shared names='dry-run'/>

    <example cmd='pragma shutdown dock6'>
    All its machines.
    </example>
    <example cmd='pragma shutdown dock6 dry-run=yes'>
    Print the steps on each host.
    </example>
    <related>pragma clean</related>
    <related>stop cluster</related>
    """

    AdviceAfterInterrupt = "the same command continues"

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Stop the machines, and wait for their images. Exit status 3 when some of them failed, 8 when
        images are not written back in time.

        StateError for a cluster that pragma did not boot.
        """
        driver = driver_of(self, read_settings(self))
        check_cluster(self, driver, args)
        driver.check_own(args[0], "stop")
        driver.shutdown(args[0])
