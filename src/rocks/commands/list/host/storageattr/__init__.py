"""`rocks list host storageattr`"""

from rocks.commands._shared.storage import HostListing
from rocks.storage.volumes.access import ATTRIBUTES

RollName = "img-storage"


class Command(HostListing):
    """
    List the attributes of NASes. frequency, uploadspeed and downloadspeed apply to all images without a value
    of their own. frequency is always listed: 300 (seconds) where none is set.

    <shared command='list host storageop' names='nas'/>

    <example cmd='list host storageattr nas-0-0'>
    One NAS.
    </example>
    <example cmd='list host storageattr nas-0-0 nas-0-1'>
    Two NASes.
    </example>

    <related>set host storageattr</related>
    <related>list host zvolattr</related>
    """

    argument = "nas"
    listing = ATTRIBUTES
