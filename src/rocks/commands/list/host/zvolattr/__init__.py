"""`rocks list host zvolattr`"""

from rocks.commands._shared.storage import ImageListing
from rocks.storage.volumes.access import IMAGE_ATTRIBUTES

RollName = "img-storage"


class Command(ImageListing):
    """
    List the attributes of one image: seconds between two transfers of its changes, time of the next transfer
    (seconds since 1970), limits of the transfer rate, and whether changes are preserved when it is unmapped.

    <shared names='nas'/>
    <arg type='string' name='zvol'>
    The volume.
    </arg>

    <example cmd='list host zvolattr nas-0-0 vm-vc1-0-vol'>
    One image.
    </example>
    <example cmd='list host zvolattr nas-0-0 vm-vc1-1-vol'>
    The image of another machine.
    </example>

    <related>set host zvolattr</related>
    <related>list host storageattr</related>
    """

    argument = "zvol"
    listing = IMAGE_ATTRIBUTES
