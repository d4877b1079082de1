"""`rocks cancel host storagemap`"""

import rocks.commands
from rocks.commands._shared.storage import storage_arguments
from rocks.storage.volumes.maps import cancel_map

RollName = "img-storage"


class Command(rocks.commands.Command):
    """
    Cancel a mapping in progress, an unmapping that waits for another operation, or a move to another NAS. An image
    that is already being written back, or taken over by the other NAS, is not affected.

    <arg type='string' name='nas'>
    The NAS; for a move either of the two.
    </arg>
    <shared names='volume,dry-run'/>

    <example cmd='cancel host storagemap nas-0-0 vm-vc1-0-vol'>
    Cancel a mapping to a host that does not respond.
    </example>
    <example cmd='cancel host storagemap nas-0-0 vm-vc1-1-vol'>
    The same for the image of another machine.
    </example>

    <related>add host storagemap</related>
    <related>remove host storagemap</related>
    <related>move host storageimg</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Cancel the mapping and report it."""
        nas, volume = storage_arguments(self, ("nas", "volume"))
        cancel_map(self.db, nas, volume)
        self.addText(f"{nas}:{volume} cancelled\nSuccess\n")
