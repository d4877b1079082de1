"""`rocks add host storagemap`"""

import rocks.commands
from rocks.commands._shared.storage import storage_arguments
from rocks.commands._shared.storage_progress import StorageProgress
from rocks.storage.volumes.maps import MapParameters, map_image

RollName = "img-storage"


class Command(rocks.commands.Command):
    """
    Map an image of a NAS to a host. The command prints the mapping, and on a separate line the path of the
    device on the host. The device is usable at once, whatever the size of the image. With img_sync, the image
    is then copied to the host in the background; its changes are written back periodically and at unmapping.

    Virtual machines with disks on a NAS do not need this command: their start maps their images.

    <shared names='nas'/>
    <arg type='string' name='zpool' of='zpool'>
    Pool of the NAS that contains the volume.
    </arg>
    <arg type='string' name='volume'>
    The volume; it is created if it does not exist.
    </arg>
    <arg type='string' name='remotehost'>
    Host to map it to.
    </arg>
    <arg type='int' name='size' unit='GiB'>
    Size of a new volume; the size of an existing volume does not change.
    </arg>
    <param type='bool' name='img_sync' default='the attribute img_sync of the host'>
    yes: copy the image to the host; requires remotepool. no: the host uses the volume on the NAS.
    </param>
    <param type='string' name='remotepool' default='none'>
    Pool on the host for the copy.
    </param>
    <shared names='dry-run'/>

    <example cmd='add host storagemap nas-0-0 tank vm-vc1-0-vol vm-container-0-0 36 img_sync=no'>
    Let a host use a volume of the NAS, to prepare an image.
    </example>
    <example cmd='add host storagemap nas-0-0 tank vm-vc1-0-vol vm-container-0-0 36 img_sync=yes remotepool=tank'>
    Map the volume and copy it to the host.
    </example>

    <related>remove host storagemap</related>
    <related>list host storagemap</related>
    <related>cancel host storagemap</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Map the image and print its device."""
        nas, zpool, volume, host, size = storage_arguments(
            self, ("nas", "zpool", "volume", "remotehost", "size")
        )
        pool = self.fillText("remotepool", "")
        sync = self.fillFlag("img_sync") if "img_sync" in params else None
        parameters = MapParameters(nas, zpool, volume, self.getOneHostname([host]), size, pool, sync)
        with StorageProgress(self) as progress:
            device = map_image(self.db, parameters, progress)
        self.addLine(f"{nas}:{zpool}/{volume} mapped to {parameters.host}")
        self.addLine(device)
