"""`rocks remove host storageimg`"""

import rocks.commands
from rocks.commands._shared.storage import storage_arguments
from rocks.storage.volumes.volumes import remove_image

RollName = "img-storage"


class Command(rocks.commands.Command):
    """
    Remove an image: the volume on its NAS, all its snapshots and its attributes. The image must be unmapped,
    and no other image may be a clone of it. It is destroyed after its grace period, 24 hours or those of the
    attribute img_grace_hours of the NAS; until then restore host storageimg restores it, and no image of its name
    can be made or mapped.

    <shared names='nas'/>
    <arg type='string' name='zpool' of='zpool'>
    Pool that contains the volume.
    </arg>
    <shared names='volume'/>
    <param type='bool' name='force' default='no'>
    yes: destroy it even if an abandoned host has changes that the NAS does not have, and with now=yes even if its
    machine has snapshots.
    </param>

    <param type='bool' name='now' default='no'>
    yes: destroy it at once, also when it is in its grace period.
    </param>
    <shared names='dry-run'/>

    <example cmd='remove host storageimg nas-0-0 tank vm-vc1-0-vol'>
    Remove the image of a removed machine.
    </example>
    <example cmd='remove host storageimg nas-0-0 tank vm-vc1-0-vol now=yes'>
    At once, without the time in which it could be brought back.
    </example>

    <related>restore host storageimg</related>
    <related>remove host storagemap</related>
    <related>list host storagemap</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Remove the image and report until when it can be restored."""
        nas, zpool, volume = storage_arguments(self, ("nas", "zpool", "volume"))
        force, now = self.fillFlag("force"), self.fillFlag("now")
        hours = remove_image(self.db, nas, zpool, volume, force, now=now)
        what = "destroyed"
        if hours:
            what = f"removed; for {hours} hours rocks restore host storageimg {nas} {volume} restores it"
        self.addText(f"{nas}:{zpool}/{volume} {what}\nSuccess\n")
