"""`rocks remove host storagemap`"""

import rocks.commands
from rocks.actions.image_maps import WRITE_BACK_SECONDS, unmap_image
from rocks.commands._shared.storage import read_wait, words_named
from rocks.commands._shared.storage_progress import StorageProgress

RollName = "img-storage"


class Command(rocks.commands.Command):
    """
    Unmap an image from its host, and wait until the NAS has all that was written there. An interrupt ends the waiting
    and nothing else. What is under way with the image ends first.

    <arg type='string' name='nas'>
    The NAS.
    </arg>
    <arg type='string' name='volume'>
    The volume.
    </arg>
    <param type='int' name='timeout'>
    Seconds to wait, 86400 (a day) by default; the image comes home all the same.
    </param>

    <example cmd='remove host storagemap nas-0-0 vm-vc1-0-vol'>
    Bring an image home.
    </example>

    <related>add host storagemap</related>
    <related>list host storageop</related>
    <related>clean host storagemap</related>
    """

    RefusesUnknownParameters = True

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Unmap it and say so."""
        nas, volume = words_named(self, ("nas", "volume"))
        with StorageProgress(self) as progress:
            unmap_image(self.db, nas, volume, progress, read_wait(self, WRITE_BACK_SECONDS))
        self.addText(f"{nas}:{volume} unmapped\nSuccess\n")
