"""`rocks dump bootaction`"""

import rocks.commands.dump
from rocks.inventory import boot_records as boots


class Command(rocks.commands.dump.command):
    """
    Print the commands that add the boot actions.

    <example cmd='dump bootaction'>
    Print one shell command per line.
    </example>

    <related>add bootaction</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one command per boot action."""
        for action, *cells in boots.list_boot_actions(self.db):
            values = zip(("kernel", "ramdisk", "args"), cells, strict=True)
            given = (f"{name}={value}" for name, value in values if value)
            self.dump("add", "bootaction", f"action={action}", *given)
