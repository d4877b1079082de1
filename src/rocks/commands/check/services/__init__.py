"""`rocks check services`"""

import rocks.commands
from rocks.core.check_lines import OK
from rocks.core.errors import StateError
from rocks.site.checks import check_all_services


class Command(rocks.commands.Command):
    """
    Check the services of this frontend: whether their units run and start with the machine, whether the database and,
    where there is one, the message broker answer, and whether the name service has what the database has. What is
    wrong is listed with the command that corrects it. Nothing is changed. The exit status is not 0 if a check fails.

    <example cmd='check services'>
    Print a line for each check.
    </example>

    <related>check site</related>
    <related>sync config</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print a line for each check."""
        lines = list(check_all_services(self.db))
        self.addTable(("subject", "result", "detail"), lines, trimOwner=False)
        failed = sum(line.result != OK for line in lines)
        if failed:
            self.endOutcomes({"services": StateError(f"{failed} of {len(lines)} checks failed")}, 1)
