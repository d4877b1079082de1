"""`rocks list host storageop`"""

import rocks.commands
from rocks.actions.storage_listings import list_operations
from rocks.commands._shared.storage import hosts_named, show_table

RollName = "img-storage"


class Command(rocks.commands.Command):
    """
    List what NASes have under way: the number of the operation (- for a transfer that no command asked for), the
    image, its host and state, and how far it is: percent, bytes moved, rate and time left. The reason tells why it
    waits.

    <arg type='string' name='nas' repeat='1'>
    NASes, by name or any other selector.
    </arg>

    <example cmd='list host storageop nas-0-0'>
    What is going on.
    </example>

    <related>list host storagemap</related>
    <related>cancel host storagemap</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the rows."""
        show_table(self, list_operations(self.db, hosts_named(self, "nas")))
