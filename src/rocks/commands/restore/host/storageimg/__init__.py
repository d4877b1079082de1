"""`rocks restore host storageimg`"""

import rocks.commands
from rocks.actions.images import restore_image
from rocks.commands._shared.storage import words_named
from rocks.commands._shared.storage_progress import StorageProgress

RollName = "img-storage"


class Command(rocks.commands.Command):
    """
    Make an earlier snapshot of an unmapped image its content. What it holds now is kept on the NAS under another
    name, and no later snapshot is destroyed.

    <arg type='string' name='nas'>
    The NAS.
    </arg>
    <arg type='string' name='volume'>
    The volume.
    </arg>
    <param type='string' name='snap' optional='0'>
    The snapshot, as list host storagesnap names it.
    </param>

    <example cmd='restore host storageimg nas-0-0 vm-vc1-0-vol snap=img-3-7-20261101T120000Z'>
    Go back to that day.
    </example>

    <related>list host storagesnap</related>
    """

    RefusesUnknownParameters = True

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Restore it and say so."""
        nas, volume = words_named(self, ("nas", "volume"))
        (snapshot,) = self.fillParams([("snap", "")])
        with StorageProgress(self) as progress:
            restore_image(self.db, nas, volume, snapshot, progress)
        self.addText(f"{nas}:{volume} is as in {snapshot}\nSuccess\n")
