"""`rocks move host storageimg`"""

import rocks.commands
from rocks.commands._shared.storage import storage_arguments
from rocks.commands._shared.storage_progress import StorageProgress
from rocks.core.errors import UserError
from rocks.storage.volumes.moves import move_image

RollName = "img-storage"


class Command(rocks.commands.Command):
    """
    Move an unmapped image, with all its snapshots and settings, to another NAS. If the image is the disk of a virtual
    machine, its next start maps it there. The machine must be stopped. The content is transferred over the storage
    network. Both NASes then read all of it and compare it, before the other NAS takes the image over. Until then no
    host gets the image from either NAS.

    The old volume stays for the grace period of its NAS, as after remove host storageimg. Restored, it is an image of
    its own, with the content at the time of the move.

    When the command is interrupted or killed, the NASes continue: repeat it to wait for them and to record the new
    place. cancel host storagemap cancels a move, until the other NAS begins to take the image over. Images that
    others are clones of, or that have foreign holds, are not moved. A clone is moved whole: it then shares no space
    with its origin.

    <arg type='string' name='nas'>
    The NAS that has the image.
    </arg>
    <shared names='volume'/>
    <param type='string' name='to' optional='0' of='nas'>
    The NAS that gets it.
    </param>
    <param type='string' name='zpool' default='the pool of the same name if the attribute img_zpools of that NAS
          has it, else its only pool' of='zpool'>
    The pool there.
    </param>
    <shared names='dry-run'/>

    <example cmd='move host storageimg nas-0-0 vm-vc1-0-vol to=nas-0-1'>
    Move the first disk of a stopped machine.
    </example>
    <example cmd='move host storageimg nas-0-0 vm-vc1-0-vol to=nas-0-1 zpool=fast'>
    Into another pool than that of the same name.
    </example>

    <related>set host vm nas</related>
    <related>cancel host storagemap</related>
    <related>restore host storageimg</related>
    <related>list host storageop</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Move the image and report it."""
        nas, volume = storage_arguments(self, ("nas", "volume"))
        to, zpool = self.fillText("to", ""), self.fillText("zpool", "")
        if not to:
            raise UserError("to= is missing: name the NAS that gets the image")
        target = self.getOneHostname([to])
        with StorageProgress(self) as progress:
            move, hours = move_image(self.db, nas, volume, target, zpool, progress)
        self.addLine(f"{nas}:{volume} moved to {move.target}:{move.zpool}/{volume}")
        if hours:
            self.addLine(f"the old volume stays on {nas} for {hours} hours")
        self.addText("Success\n")
