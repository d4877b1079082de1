"""`rocks list host storagemap`"""

from rocks.commands._shared.storage import HostListing
from rocks.storage.volumes.access import MAPS, all_nases

RollName = "img-storage"


class Command(HostListing):
    """
    List the images of NASes: the host that has the image, its pool there, the iSCSI target if one exists, and
    the state. The state is unmapped; an arrow from NAS to VM while the image is copied to its host; mapped; an
    arrow from VM to NAS while the image is written back, followed by sched if only its changes are; or blocked,
    deleting (removed, until its grace period ends), restoring, moving (to another NAS), arriving (from another
    NAS), growing (its volume gets a larger size). Time is how long ago the transfer was queued, nextsync the time of
    the next one; locked is True while the image cannot be mapped. The note states why it is blocked or waits, for
    example for free space in the pool of its NAS, and how much of it, or that its import is not complete.

    <arg optional='1' type='string' name='nas' repeat='1' default='all'>
    NASes, by name or any other selector. A site without a NAS has an empty list.
    </arg>

    <example cmd='list host storagemap nas-0-0'>
    All images of a NAS.
    </example>
    <example cmd='list host storagemap'>
    All images of all NASes.
    </example>

    <related>add host storagemap</related>
    <related>list host storageop</related>
    """

    argument = "nas"
    listing = MAPS
    all_hosts = all_nases
