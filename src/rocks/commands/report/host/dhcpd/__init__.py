"""`rocks report host dhcpd`"""

import rocks.commands
from rocks.install.boot.service import report_configuration


class Command(rocks.commands.Command):
    """
    Report the configuration of the DHCP server, and the addresses of all hosts that it serves, as rocks start
    service boot would write them now.

    <example cmd='report host dhcpd'>
    Both files.
    </example>

    <related>start service boot</related>
    <related>sync config</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print both files."""
        for path, text in report_configuration(self.db):
            self.addText(f'<file name="{path}">\n{text}</file>\n')
