"""`rocks set host zvolattr`"""

import rocks.commands
from rocks.commands._shared.storage import storage_arguments
from rocks.storage.volumes.volumes import set_image_attribute

RollName = "img-storage"


class Command(rocks.commands.Command):
    """
    Set an attribute of one image: frequency (seconds between two transfers of its changes), nextsync (time of
    the next transfer, seconds since 1970), uploadspeed and downloadspeed (maximum bytes per second, such as
    500000, 500K, 20M or 1G, at least 100K), or persistent (no: discard all changes when the image is unmapped).

    The start of a virtual machine with the attribute img_persistent sets persistent to its value.

    <shared names='nas'/>
    <shared command='list host zvolattr' names='zvol'/>
    <shared names='attr'/>
    <arg type='string' name='value'>
    Value; none clears it.
    </arg>
    <shared names='dry-run'/>

    <example cmd='set host zvolattr nas-0-0 vm-vc1-0-vol uploadspeed 20M'>
    Limit the transfer to its host to 20 MiB per second.
    </example>
    <example cmd='set host zvolattr nas-0-0 vm-vc1-0-vol persistent no'>
    Discard the changes of its guest.
    </example>

    <related>list host zvolattr</related>
    <related>set host storageattr</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Store the value."""
        nas, volume, name, value = storage_arguments(self, ("nas", "zvol", "attr", "value"))
        set_image_attribute(self.db, nas, volume, name, value)
