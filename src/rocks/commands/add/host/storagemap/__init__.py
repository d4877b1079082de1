"""`rocks add host storagemap`"""

import rocks.commands
from rocks.actions.image_maps import MapParameters, map_image
from rocks.commands._shared.storage import words_named
from rocks.commands._shared.storage_progress import StorageProgress

RollName = "img-storage"


class Command(rocks.commands.Command):
    """
    Map an image of a NAS to a host: print what was mapped, and on a line of its own the path of its device there. The
    device is there at once, whatever the image's size. With img_sync the image then follows to the host, and its
    changes come back from time to time and when it is unmapped.

    Virtual machines whose disks a NAS keeps need none of this: their start maps their images.

    <arg type='string' name='nas'>
    The NAS.
    </arg>
    <arg type='string' name='zpool'>
    The pool of the NAS that has the volume.
    </arg>
    <arg type='string' name='volume'>
    The volume; it is made when there is none.
    </arg>
    <arg type='string' name='remotehost'>
    The host that gets it.
    </arg>
    <arg type='int' name='size'>
    Size of a volume that is made, in GB of 1024³ bytes; one that exists keeps its own.
    </arg>
    <param type='bool' name='img_sync'>
    yes: the image follows to the host, and needs remotepool; no: the host works on the NAS's volume itself. The
    host's attribute img_sync by default.
    </param>
    <param type='string' name='remotepool'>
    Pool of the host for the copy.
    </param>

    <example cmd='add host storagemap nas-0-0 tank vm-vc1-0-vol vm-container-0-0 36 img_sync=no'>
    Let a host work on a volume of the NAS, to prepare an image.
    </example>
    <example cmd='add host storagemap nas-0-0 tank vm-vc1-0-vol vm-container-0-0 36 img_sync=yes remotepool=tank'>
    The same, and move it there.
    </example>

    <related>remove host storagemap</related>
    <related>list host storagemap</related>
    <related>cancel host storagemap</related>
    """

    RefusesUnknownParameters = True

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Map it, and print where it is."""
        nas, zpool, volume, host, size = words_named(self, ("nas", "zpool", "volume", "remotehost", "size"))
        (pool,) = self.fillParams([("remotepool", "")])
        sync = self.fillFlag("img_sync") if "img_sync" in params else None
        words = MapParameters(nas, zpool, volume, self.getOneHostname([host]), size, pool, sync)
        with StorageProgress(self) as progress:
            device = map_image(self.db, words, progress)
        self.addText(f"{nas}:{zpool}/{volume} mapped to {words.host}\n{device}\n")
