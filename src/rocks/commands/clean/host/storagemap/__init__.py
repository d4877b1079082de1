"""`rocks clean host storagemap`"""

import rocks.commands
from rocks.commands._shared.storage import storage_arguments
from rocks.commands._shared.storage_progress import StorageProgress
from rocks.storage.volumes.maps import clean_map

RollName = "img-storage"


class Command(rocks.commands.Command):
    """
    Unmap an image that is not unmapped automatically. The command cancels a mapping in progress, writes an idle
    image back with its changes, and resumes a blocked operation where it stopped. No data is lost.

    With force=yes and a reason, the command discards changes that exist only on the host, for a host that will
    not return; the image then has the content on the NAS. It is refused when the host answers that a guest or a
    program uses the image: stop the machine first. Without force, the command first reports what would be lost.
    The copy on the host is never destroyed but quarantined.

    <shared names='nas,volume'/>
    <param type='string' name='nodetype' default='none' values='vmc,nas'>
    vmc or nas, for scripts that clean the two sides separately; the NAS cleans both in either case.
    </param>
    <param type='bool' name='force' default='no'>
    yes: discard changes that exist only on the host.
    </param>
    <param type='string' name='reason' default='none'>
    The reason of force, with which it is required; the NAS records it.
    </param>
    <shared names='dry-run'/>

    <example cmd='clean host storagemap nas-0-0 vm-vc1-0-vol'>
    Unmap an image that is stuck in a state.
    </example>
    <example cmd='clean host storagemap nas-0-0 vm-vc1-0-vol force=yes reason="disks of vm-container-0-0 broken"'>
    Unmap an image whose host will not return.
    </example>

    <related>remove host storagemap</related>
    <related>list host storagemap</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Clean up and print the result."""
        nas, volume = storage_arguments(self, ("nas", "volume"))
        node_type, reason = self.fillText("nodetype", ""), self.fillText("reason", "")
        force = self.fillFlag("force")
        if force is not bool(reason.strip()):
            self.abort('force=yes and reason="…" must be given together: force discards changes on the host')
        with StorageProgress(self) as progress:
            done = clean_map(self.db, nas, volume, node_type, reason if force else None, progress)
        self.addLine(done)
        self.addText("Success\n")
