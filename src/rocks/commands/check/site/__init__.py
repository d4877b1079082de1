"""`rocks check site`"""

import rocks.commands
from rocks.core.check_lines import OK
from rocks.core.errors import StateError
from rocks.site.checks import check_site


class Command(rocks.commands.Command):
    """
    Check whether this frontend and its hosts are ready: addresses, keys, free space, the clock, services, rolls and
    the distribution, the site's own node and graph files, the message broker, certificates, the leases, machines whose
    move was interrupted or whose disks are not decided, and whether each physical host answers, and libvirt where it
    runs virtual machines. What is missing is listed with the command that does it. The fences of hosts that answer are
    ended; nothing else is changed. The exit status is not 0 if a check fails.

    <example cmd='check site'>
    Print a line for each check.
    </example>
    <example cmd='check site json=yes'>
    The same as JSON.
    </example>

    <related>check graph</related>
    <related>create site</related>
    <related>report database</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print a line for each check."""
        lines = list(check_site(self.db))
        self.addTable(("subject", "result", "detail"), lines, trimOwner=False)
        failed = sum(line.result != OK for line in lines)
        if failed:
            self.endOutcomes({"site": StateError(f"{failed} of {len(lines)} checks failed")}, 1)
