"""`rocks report bug`"""

import rocks.commands
from rocks.site.bug_report import report_bug


class Command(rocks.commands.Command):
    """
    Report what somebody who looks for a fault needs to know of this frontend: versions, rolls, the number of hosts, and
    the states of the services. There are no names, addresses, attributes and secrets in it. No database is needed.

    <example cmd='report bug'>
    To be sent with the description of a fault.
    </example>

    <related>check site</related>
    <related>report version</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print a line for each subject."""
        self.addTable(("subject", "text"), report_bug(self.db), trimOwner=False)
