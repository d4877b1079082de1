"""`rocks remove host storagecopy`"""

import rocks.commands
from rocks.commands._shared.storage import storage_arguments
from rocks.storage.volumes.volumes import remove_copy

RollName = "img-storage"


class Command(rocks.commands.Command):
    """
    Destroy a copy of an image on a host that no guest uses. The NAS of the copy must confirm that it has all of it.

    <arg type='string' name='host'>
    The host.
    </arg>
    <arg type='string' name='volume'>
    The volume with its pool, as listed by list host storagecopy.
    </arg>
    <param type='bool' name='force' default='no'>
    yes: destroy it even if it is the only place of its data.
    </param>
    <shared names='dry-run'/>

    <example cmd='remove host storagecopy vm-container-0-0 tank/vm-vc1-0-vol-quarantine-3'>
    Destroy a quarantined volume.
    </example>
    <example cmd='remove host storagecopy vm-container-0-0 tank/vm-vc1-0-vol-quarantine-3 force=yes'>
    Also if it has changes that the NAS lacks: they are lost.
    </example>

    <related>list host storagecopy</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Destroy the copy and report it."""
        host, volume = storage_arguments(self, ("host", "volume"))
        remove_copy(self.db, host, volume, self.fillFlag("force"))
        self.addText(f"{host}:{volume} destroyed\nSuccess\n")
