"""`rocks report host roll`"""

from html import escape

import rocks.commands
from rocks.install.rolls.host_rolls import frontends_among, list_host_rolls


class Command(rocks.commands.Command):
    """
    Report the rolls of a frontend as the file rolls.xml, which the installation of a virtual frontend reads.

    <arg type='string' name='host'>
    The frontend, by name or any other selector of one host.
    </arg>

    <example cmd='report host roll frontend-0-0-0'>
    One frontend.
    </example>
    <example cmd='report host roll vc1'>
    The frontend of another cluster.
    </example>

    <related>list host roll</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the document."""
        host = self.getOneHostname(args)
        self.addText("<rolls>\n")
        for roll in list_host_rolls(self.db, frontends_among(self.db, [host])):
            values = (("name", roll.name), ("version", roll.version), ("arch", roll.arch))
            self.addText(
                "\t<roll " + " ".join(f'{name}="{escape(value)}"' for name, value in values) + "/>\n"
            )
        self.addText("</rolls>\n")
