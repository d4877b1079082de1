"""`rocks list bootaction`"""

import rocks.commands
from rocks.inventory import boot_records as boots


class Command(rocks.commands.Command):
    """
    List the boot actions: name, kernel, ramdisk and arguments.

    <example cmd='list bootaction'>
    All boot actions.
    </example>

    <related>add bootaction</related>
    <related>set host runaction</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one row per action."""
        header = ("action", "kernel", "ramdisk", "args")
        self.addTable(header, boots.list_boot_actions(self.db), trimOwner=False)
