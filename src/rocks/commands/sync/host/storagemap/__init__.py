"""`rocks sync host storagemap`"""

import rocks.commands
from rocks.commands._shared.storage import storage_arguments
from rocks.commands._shared.storage_progress import StorageProgress
from rocks.storage.volumes.maps import pull_image

RollName = "img-storage"


class Command(rocks.commands.Command):
    """
    Write the changes of an image on its host back to the NAS now instead of at the next scheduled time, and
    wait until the NAS has them. The virtual machine continues to run.

    <shared names='nas,volume'/>
    <param type='int' name='timeout' default='86400' range='1..2592000' unit='seconds'>
    Time to wait; 86400 is a day.
    </param>
    <shared names='dry-run'/>

    <example cmd='sync host storagemap nas-0-0 vm-vc1-0-vol'>
    Save the changes before maintenance of the host.
    </example>
    <example cmd='sync host storagemap nas-0-0 vm-vc1-0-vol timeout=60'>
    Wait for at most 60 seconds.
    </example>

    <related>remove host storagemap</related>
    <related>list host storagesnap</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Write the changes back and report it."""
        nas, volume = storage_arguments(self, ("nas", "volume"))
        with StorageProgress(self) as progress:
            pull_image(self.db, nas, volume, progress, self.fillNumber("timeout"))
        self.addText(f"{nas}:{volume} has all that was written until now\nSuccess\n")
