"""`rocks list host storageattr`"""

import rocks.commands
from rocks.actions.storage_listings import list_attributes
from rocks.commands._shared.storage import hosts_named, show_table

RollName = "img-storage"


class Command(rocks.commands.Command):
    """
    List what is set for whole NASes: frequency, uploadspeed and downloadspeed hold for all images that have none of
    their own.

    <arg type='string' name='nas' repeat='1'>
    NASes, by name or any other selector.
    </arg>

    <example cmd='list host storageattr nas-0-0'>
    One NAS.
    </example>

    <related>set host storageattr</related>
    <related>list host zvolattr</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the rows."""
        show_table(self, list_attributes(self.db, hosts_named(self, "nas")))
