"""`rocks list host storagedev`"""

import rocks.commands
from rocks.actions.storage_listings import list_devices
from rocks.commands._shared.storage import hosts_named, show_table

RollName = "img-storage"


class Command(rocks.commands.Command):
    """
    List what hosts have of images: devices and iSCSI sessions. The status is that of the device: snapshot while it
    reads from the NAS, snapshot-merge, linear when it is on its own. Synced tells what of the writes is still to be
    merged, time for how long the host has been at what the NAS asked of it last; it is empty when that is done.

    <arg type='string' name='host' repeat='1'>
    Hosts, by name or any other selector.
    </arg>

    <example cmd='list host storagedev vm-container-0-0'>
    One host.
    </example>

    <related>list host storagemap</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the rows."""
        show_table(self, list_devices(self.db, hosts_named(self, "host")))
