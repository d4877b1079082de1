"""`rocks list host storagesnap`"""

import rocks.commands
from rocks.actions.storage_listings import list_snapshots
from rocks.commands._shared.storage import show_table, words_named

RollName = "img-storage"


class Command(rocks.commands.Command):
    """
    List the snapshots of an image on its NAS, oldest first: name, guid, when it was made, the bytes that it refers to
    and those written since the one before, and how many holds keep it.

    <arg type='string' name='nas'>
    The NAS.
    </arg>
    <arg type='string' name='volume'>
    The volume.
    </arg>

    <example cmd='list host storagesnap nas-0-0 vm-vc1-0-vol'>
    States to which the image can be restored.
    </example>

    <related>restore host storageimg</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the rows."""
        nas, volume = words_named(self, ("nas", "volume"))
        show_table(self, list_snapshots(self.db, nas, volume))
