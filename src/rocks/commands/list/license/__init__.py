"""`rocks list license`"""

from pathlib import Path

import rocks.commands


class Command(rocks.commands.Command):
    """
    List the licence of this system. It needs no database.

    <example cmd='list license'>
    Print the text.
    </example>

    <related>report version</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the text that is beside this file."""
        self.addText(Path(__file__).with_name("license.txt").read_text("utf-8"))
