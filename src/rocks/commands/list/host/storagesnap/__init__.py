"""`rocks list host storagesnap`"""

from rocks.commands._shared.storage import ImageListing
from rocks.storage.volumes.access import SNAPSHOTS

RollName = "img-storage"


class Command(ImageListing):
    """
    List the snapshots of an image on its NAS, oldest first: name, guid, creation time, bytes referenced, bytes
    written since the previous snapshot, and number of holds.

    <shared names='nas,volume'/>

    <example cmd='list host storagesnap nas-0-0 vm-vc1-0-vol'>
    The states to which the image can be restored.
    </example>
    <example cmd='list host storagesnap nas-0-0 vm-vc1-1-vol'>
    The image of another machine.
    </example>

    <related>restore host storageimg</related>
    """

    listing = SNAPSHOTS
