"""`rocks report knownhosts`"""

import rocks.commands
from rocks.site.shared_keys import report_known_hosts


class Command(rocks.commands.Command):
    """
    Report the recorded SSH keys of all hosts for /etc/ssh/ssh_known_hosts, each with all names and addresses of its
    host. Hosts whose key was never recorded are left out.

    <example cmd='report knownhosts'>
    With its output in /etc/ssh/ssh_known_hosts, users of the frontend are not asked about hosts.
    </example>

    <related>sync host sharedkey</related>
    <related>report shosts</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the lines."""
        self.addText(report_known_hosts(self.db))
