"""`rocks remove host storagemap`"""

import rocks.commands
from rocks.commands._shared.storage import storage_arguments
from rocks.commands._shared.storage_progress import StorageProgress
from rocks.storage.volumes.maps import unmap_image

RollName = "img-storage"


class Command(rocks.commands.Command):
    """
    Unmap an image from its host, and wait until all changes are written back to the NAS. An interrupt ends only
    the wait. Operations in progress on the image complete first.

    <shared names='nas,volume'/>
    <param type='int' name='timeout' default='86400' range='1..2592000' unit='seconds'>
    Time to wait; 86400 is a day. The unmapping continues afterwards.
    </param>
    <shared names='dry-run'/>

    <example cmd='remove host storagemap nas-0-0 vm-vc1-0-vol'>
    Write an image back to its NAS.
    </example>
    <example cmd='remove host storagemap nas-0-0 vm-vc1-0-vol timeout=60'>
    Wait for at most 60 seconds.
    </example>

    <related>add host storagemap</related>
    <related>list host storageop</related>
    <related>clean host storagemap</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Unmap the image and report it."""
        nas, volume = storage_arguments(self, ("nas", "volume"))
        with StorageProgress(self) as progress:
            unmap_image(self.db, nas, volume, progress, self.fillNumber("timeout"))
        self.addText(f"{nas}:{volume} unmapped\nSuccess\n")
