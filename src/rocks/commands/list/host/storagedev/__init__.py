"""`rocks list host storagedev`"""

from rocks.commands._shared.storage import HostListing
from rocks.storage.volumes.access import DEVICES

RollName = "img-storage"


class Command(HostListing):
    """
    List the devices and iSCSI sessions of images on hosts. The status is that of the device: snapshot while it
    reads from the NAS, snapshot-merge, or linear when it is independent of the NAS. Synced is the amount still
    to be merged. Time is the duration of the current operation that the NAS requested; it is empty when that is
    complete.

    <shared names='hosts'/>

    <example cmd='list host storagedev vm-container-0-0'>
    One host.
    </example>
    <example cmd='list host storagedev vm-container'>
    All VM containers.
    </example>

    <related>list host storagemap</related>
    """

    argument = "host"
    listing = DEVICES
