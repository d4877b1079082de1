"""`rocks set host zvolattr`"""

import rocks.commands
from rocks.actions.storage_attributes import set_image_attribute
from rocks.commands._shared.storage import words_named

RollName = "img-storage"


class Command(rocks.commands.Command):
    """
    Set an attribute of one image: frequency (seconds between two pulls of its changes), nextsync (when the next is
    due, seconds since 1970), uploadspeed and downloadspeed (bytes a second at most, as 500000, 500K, 20M or 1G), or
    persistent: no throws away what is written when the image is unmapped.

    The start of a virtual machine whose attribute img_persistent is set sets persistent to that.

    <arg type='string' name='nas'>
    The NAS.
    </arg>
    <arg type='string' name='zvol'>
    The volume.
    </arg>
    <arg type='string' name='attr'>
    The attribute.
    </arg>
    <arg type='string' name='value'>
    Its value; none clears it.
    </arg>

    <example cmd='set host zvolattr nas-0-0 vm-vc1-0-vol uploadspeed 20M'>
    At most 20 MiB a second to its host.
    </example>
    <example cmd='set host zvolattr nas-0-0 vm-vc1-0-vol persistent no'>
    Forget what its guest writes.
    </example>

    <related>list host zvolattr</related>
    <related>set host storageattr</related>
    """

    RefusesUnknownParameters = True

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Set it."""
        nas, volume, name, value = words_named(self, ("nas", "zvol", "attr", "value"))
        set_image_attribute(self.db, nas, volume, name, value)
