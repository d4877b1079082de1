"""`rocks add host storageimg`"""

import rocks.commands
from rocks.actions.images import add_clone, add_empty_image, import_image, read_image_file
from rocks.cluster.values import read_number
from rocks.commands._shared.storage import words_named
from rocks.commands._shared.storage_progress import StorageProgress
from rocks.errors import UserError
from rocks.units import BYTES_PER_GIB

RollName = "img-storage"
_LARGEST_GB = 1024 * 1024


class Command(rocks.commands.Command):
    """
    Make an image on a NAS: an empty one, a clone of another one, or one with the content of a file of this machine.

    A file is read as its name or the parameter format says, never as its content suggests; one that is named as raw
    and looks like another format is refused until format says what is meant. It travels without its
    holes, and is read back on the NAS: until both ends agree on the digest of all of it, no host gets the image. The
    same command again completes an import that was cut off.

    <arg type='string' name='nas'>
    The NAS.
    </arg>
    <arg type='string' name='zpool'>
    The pool for the volume.
    </arg>
    <arg type='string' name='volume'>
    The volume; that of a machine's first disk is the machine's name and -vol.
    </arg>
    <param type='int' name='size'>
    For an empty image: GB (1024 x 1024 x 1024 bytes).
    </param>
    <param type='string' name='origin'>
    For a clone: a volume of the same pool, or one of its snapshots as volume@snapshot. It takes no room at first.
    </param>
    <param type='string' name='file'>
    For an import: a file on this machine, raw or qcow2.
    </param>
    <param type='string' name='format'>
    raw or qcow2, when the file's name does not end in .raw, .img or .qcow2.
    </param>

    <example cmd='add host storageimg nas-0-0 tank golden file=/export/rocky9.qcow2'>
    Bring in an image that others will be clones of.
    </example>
    <example cmd='add host storageimg nas-0-0 tank vm-vc1-0-vol origin=golden'>
    The first disk of a machine, as a clone.
    </example>
    <example cmd='add host storageimg nas-0-0 tank vm-vc1-1-vol size=36'>
    An empty disk.
    </example>

    <related>remove host storageimg</related>
    <related>set host vm nas</related>
    """

    RefusesUnknownParameters = True

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Make it and say so."""
        nas, zpool, volume = words_named(self, ("nas", "zpool", "volume"))
        size, origin, file, stated = self.fillParams(
            [("size", ""), ("origin", ""), ("file", ""), ("format", "")]
        )
        if sum(bool(word) for word in (size, origin, file)) != 1:
            raise UserError("say one of size=GB, origin=VOLUME[@SNAPSHOT] and file=PATH")
        words = ""
        if file:
            with StorageProgress(self) as watcher:
                digest = import_image(self.db, nas, zpool, volume, read_image_file(file, stated), watcher)
            words = f", BLAKE2b {digest[:32]}"
        elif origin:
            add_clone(self.db, nas, zpool, volume, origin)
        else:
            size_gb = read_number("size", size, 1, _LARGEST_GB)
            add_empty_image(self.db, nas, zpool, volume, size_gb * BYTES_PER_GIB)
        self.addText(f"{nas}:{zpool}/{volume} made{words}\nSuccess\n")
