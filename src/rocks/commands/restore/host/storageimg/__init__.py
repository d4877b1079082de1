"""`rocks restore host storageimg`"""

import rocks.commands
from rocks.commands._shared.storage import storage_arguments
from rocks.commands._shared.storage_progress import StorageProgress
from rocks.storage.volumes.volumes import restore_image, undelete_image

RollName = "img-storage"


class Command(rocks.commands.Command):
    """
    Restore an unmapped image to an earlier snapshot. The current content is preserved on the NAS under another
    name, and no later snapshot is destroyed. Without a snapshot, restore an image that was removed and is still in
    its grace period. Of an image that was moved to another NAS this restores the old volume, as an image of its own.

    <shared names='nas,volume'/>
    <param type='string' name='snap' default='none: the removed image returns'>
    The snapshot, as listed by list host storagesnap.
    </param>
    <shared names='dry-run'/>

    <example cmd='restore host storageimg nas-0-0 vm-vc1-0-vol snap=img-3-7-20261101T120000Z'>
    Restore the content of that day.
    </example>

    <example cmd='restore host storageimg nas-0-0 vm-vc1-0-vol'>
    Restore the image that was removed.
    </example>

    <related>remove host storageimg</related>
    <related>list host storagesnap</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Restore the image and report it."""
        nas, volume = storage_arguments(self, ("nas", "volume"))
        snapshot = self.fillText("snap", "")
        if not snapshot:
            reason = undelete_image(self.db, nas, volume)
            self.addLine(f"{nas}:{volume} restored{reason and f', but {reason}'}")
            self.addText("Success\n")
            return
        with StorageProgress(self) as progress:
            restore_image(self.db, nas, volume, snapshot, progress)
        self.addText(f"{nas}:{volume} is as in {snapshot}\nSuccess\n")
