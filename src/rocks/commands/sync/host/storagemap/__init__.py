"""`rocks sync host storagemap`"""

import rocks.commands
from rocks.actions.image_maps import WRITE_BACK_SECONDS, pull_image
from rocks.commands._shared.storage import read_wait, words_named
from rocks.commands._shared.storage_progress import StorageProgress

RollName = "img-storage"


class Command(rocks.commands.Command):
    """
    Bring home now what has been written to an image on its host, as it happens from time to time anyway, and wait
    until the NAS has it. The virtual machine runs on.

    <arg type='string' name='nas'>
    The NAS.
    </arg>
    <arg type='string' name='volume'>
    The volume.
    </arg>
    <param type='int' name='timeout'>
    Seconds to wait, 86400 (a day) by default.
    </param>

    <example cmd='sync host storagemap nas-0-0 vm-vc1-0-vol'>
    Before the host is taken out of its rack.
    </example>

    <related>remove host storagemap</related>
    <related>list host storagesnap</related>
    """

    RefusesUnknownParameters = True

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Pull it and say so."""
        nas, volume = words_named(self, ("nas", "volume"))
        with StorageProgress(self) as progress:
            pull_image(self.db, nas, volume, progress, read_wait(self, WRITE_BACK_SECONDS))
        self.addText(f"{nas}:{volume} has all that was written until now\nSuccess\n")
