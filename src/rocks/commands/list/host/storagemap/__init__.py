"""`rocks list host storagemap`"""

import rocks.commands
from rocks.actions.storage_listings import list_maps
from rocks.commands._shared.storage import hosts_named, show_table

RollName = "img-storage"


class Command(rocks.commands.Command):
    """
    List the images of NASes: which host has them, in which pool there, the iSCSI target while there is one, and how
    they are. That is unmapped; an arrow from NAS to VM while the image is copied to its host; mapped; an arrow back
    while it comes home for good, with sched behind it while only its changes do; or held, deleting, restoring. Time is
    since the transfer began, nextsync when the next one is due; locked is True while the image cannot be mapped.

    <arg type='string' name='nas' repeat='1'>
    NASes, by name or any other selector.
    </arg>

    <example cmd='list host storagemap nas-0-0'>
    All images of a NAS.
    </example>

    <related>add host storagemap</related>
    <related>list host storageop</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the rows."""
        show_table(self, list_maps(self.db, hosts_named(self, "nas")))
