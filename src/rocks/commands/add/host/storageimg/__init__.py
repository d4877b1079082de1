"""`rocks add host storageimg`"""

import rocks.commands
from rocks.commands._shared.storage import storage_arguments
from rocks.commands._shared.storage_progress import StorageProgress
from rocks.core.errors import UserError
from rocks.core.values import BYTES_PER_GIB
from rocks.storage.volumes.image_files import read_image_file
from rocks.storage.volumes.places import read_size_gib
from rocks.storage.volumes.volumes import add_clone, add_empty_image, import_image

RollName = "img-storage"


class Command(rocks.commands.Command):
    """
    Create an image on a NAS: an empty one, a clone of another image, or one with the content of a file on this
    machine.

    The format of a file is determined by its name or by the parameter format, never by its content. A file that
    is named raw but has the header of another format is rejected unless format is given. The transfer omits
    holes. Afterwards the NAS reads the image back; no host can use it until the digests match. Repeat the
    command to complete an interrupted import. A volume is refused if its pool lacks the space that growing to
    its size needs: before a raw file is read, but after a qcow2 file is checked and converted.

    <shared names='nas'/>
    <arg type='string' name='zpool' of='zpool'>
    Pool for the volume.
    </arg>
    <arg type='string' name='volume'>
    Name of the volume. The volume of a machine's first disk is named MACHINE-vol.
    </arg>
    <param type='int' name='size' default='none' unit='GiB'>
    Size of an empty image. One of size, origin and file is required.
    </param>
    <param type='string' name='origin' default='none' of='volume'>
    Source of a clone: a volume of the same pool, or one of its snapshots as volume@snapshot. A new clone
    occupies no space.
    </param>
    <param type='string' name='file' default='none' of='file'>
    File on this machine to import, raw or qcow2. A raw file must not be a symbolic link; no other user may be
    able to change a qcow2 file or its folders.
    </param>
    <param type='string' name='format' default="by the end of the file's name" values='raw,qcow2'>
    raw or qcow2; required if the name of the file does not end in .raw, .img or .qcow2.
    </param>
    <shared names='dry-run'/>

    <example cmd='add host storageimg nas-0-0 tank golden file=/export/rocky9.qcow2'>
    Import an image as the origin of clones.
    </example>
    <example cmd='add host storageimg nas-0-0 tank vm-vc1-0-vol origin=golden'>
    Create the first disk of a machine as a clone.
    </example>
    <example cmd='add host storageimg nas-0-0 tank vm-vc1-1-vol size=36'>
    Create an empty disk.
    </example>

    <related>remove host storageimg</related>
    <related>set host vm nas</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Create the image and report it."""
        nas, zpool, volume = storage_arguments(self, ("nas", "zpool", "volume"))
        size, origin, file = (self.fillText(name, "") for name in ("size", "origin", "file"))
        if sum(bool(source) for source in (size, origin, file)) != 1:
            raise UserError("give one of size=GIB, origin=VOLUME[@SNAPSHOT] and file=PATH")
        digest_text = ""
        if file:
            image_file = read_image_file(file, self.fillText("format", ""))
            with StorageProgress(self) as watcher:
                digest = import_image(self.db, nas, zpool, volume, image_file, watcher)
            digest_text = f", BLAKE2b {digest[:32]}"
        elif origin:
            add_clone(self.db, nas, zpool, volume, origin)
        else:
            add_empty_image(self.db, nas, zpool, volume, read_size_gib(size) * BYTES_PER_GIB)
        self.addLine(f"{nas}:{zpool}/{volume} made{digest_text}")
        self.addText("Success\n")
