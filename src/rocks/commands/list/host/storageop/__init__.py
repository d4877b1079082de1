"""`rocks list host storageop`"""

from rocks.commands._shared.storage import HostListing
from rocks.storage.volumes.access import OPERATIONS

RollName = "img-storage"


class Command(HostListing):
    """
    List the operations in progress on NASes: number (- for a transfer without a command), image, host, state,
    and progress as percentage, bytes transferred, rate and remaining time. Percentage and bytes of a resumed
    transfer count only the rest. The reason explains why an operation waits.

    <arg type='string' name='nas' repeat='1'>
    NASes, by name or any other selector.
    </arg>

    <example cmd='list host storageop nas-0-0'>
    The operations on one NAS.
    </example>
    <example cmd='list host storageop nas'>
    All NASes.
    </example>

    <related>list host storagemap</related>
    <related>cancel host storagemap</related>
    """

    argument = "nas"
    listing = OPERATIONS
