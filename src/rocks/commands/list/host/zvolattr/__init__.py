"""`rocks list host zvolattr`"""

import rocks.commands
from rocks.actions.storage_listings import list_image_attributes
from rocks.commands._shared.storage import show_table, words_named

RollName = "img-storage"


class Command(rocks.commands.Command):
    """
    List what is set for one image: seconds between two pulls of its changes, when the next is due (seconds since
    1970), bounds of the rate of transfers, and whether what is written to it is kept when it is unmapped.

    <arg type='string' name='nas'>
    The NAS.
    </arg>
    <arg type='string' name='zvol'>
    The volume.
    </arg>

    <example cmd='list host zvolattr nas-0-0 vm-vc1-0-vol'>
    One image.
    </example>

    <related>set host zvolattr</related>
    <related>list host storageattr</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the row."""
        nas, volume = words_named(self, ("nas", "zvol"))
        show_table(self, list_image_attributes(self.db, nas, volume))
