"""`rocks remove host storageimg`"""

import rocks.commands
from rocks.actions.images import remove_image
from rocks.commands._shared.storage import storage_arguments

RollName = "img-storage"


class Command(rocks.commands.Command):
    """
    Destroy an image: the volume on its NAS, all its snapshots and its attributes. The image must be unmapped,
    and no other image may be a clone of it.

    <arg type='string' name='nas'>
    The NAS.
    </arg>
    <arg type='string' name='zpool'>
    Pool that contains the volume.
    </arg>
    <arg type='string' name='volume'>
    The volume.
    </arg>
    <param type='bool' name='force'>
    yes: destroy it even if an abandoned host has changes that the NAS does not have.
    </param>

    <example cmd='remove host storageimg nas-0-0 tank vm-vc1-0-vol'>
    Destroy the image of a removed machine.
    </example>

    <related>remove host storagemap</related>
    <related>list host storagemap</related>
    """

    RefusesUnknownParameters = True

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Destroy the image and report it."""
        nas, zpool, volume = storage_arguments(self, ("nas", "zpool", "volume"))
        remove_image(self.db, nas, zpool, volume, self.fillFlag("force"))
        self.addText(f"{nas}:{zpool}/{volume} destroyed\nSuccess\n")
