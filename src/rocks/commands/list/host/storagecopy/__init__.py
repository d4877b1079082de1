"""`rocks list host storagecopy`"""

from rocks.commands._shared.storage import HostListing
from rocks.storage.volumes.access import COPIES

RollName = "img-storage"


class Command(HostListing):
    """
    List the copies of images on hosts that no guest uses: the volume, its kind, its NAS, its size, the time since its
    newest snapshot, and why it is there. A clean copy equals a snapshot of its NAS and makes the next start there
    fast; a dirty one has changes that its NAS may not have; a suspect one was changed after it was written back; a
    quarantined one was given up, or another copy took its place. When the host needs the space, clean and quarantined
    copies that their NAS confirms to have are destroyed, the oldest first.

    <shared names='hosts'/>

    <example cmd='list host storagecopy vm-container-0-0'>
    One host.
    </example>
    <example cmd='list host storagecopy vm-container-0-0 vm-container-0-1'>
    Two VM containers.
    </example>

    <related>remove host storagecopy</related>
    <related>list host storagedev</related>
    """

    argument = "host"
    listing = COPIES
