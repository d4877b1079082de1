"""`rocks remove host storageimg`"""

import rocks.commands
from rocks.actions.images import remove_image
from rocks.commands._shared.storage import words_named

RollName = "img-storage"


class Command(rocks.commands.Command):
    """
    Destroy an image: the volume on its NAS, all its snapshots, and what was set for it. It must be unmapped, and no
    other image may be a clone of it.

    <arg type='string' name='nas'>
    The NAS.
    </arg>
    <arg type='string' name='zpool'>
    The pool that has the volume.
    </arg>
    <arg type='string' name='volume'>
    The volume.
    </arg>
    <param type='bool' name='force'>
    yes: although a host that was given up has changes that the NAS has not.
    </param>

    <example cmd='remove host storageimg nas-0-0 tank vm-vc1-0-vol'>
    Destroy the image of a machine that is gone.
    </example>

    <related>remove host storagemap</related>
    <related>list host storagemap</related>
    """

    RefusesUnknownParameters = True

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Destroy it and say so."""
        nas, zpool, volume = words_named(self, ("nas", "zpool", "volume"))
        remove_image(self.db, nas, zpool, volume, self.fillFlag("force"))
        self.addText(f"{nas}:{zpool}/{volume} destroyed\nSuccess\n")
