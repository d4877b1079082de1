"""`rocks report tentakel`"""

import rocks.commands
from rocks.inventory.hosts import hosts_by_appliance
from rocks.site.host_lists import tentakel_configuration


class Command(rocks.commands.Command):
    """
    Report the configuration of tentakel: a group of hosts for each appliance, and the group default of all of them.

    <example cmd='report tentakel'>
    For /etc/tentakel.conf. rocks run host does the same without it.
    </example>

    <related>run host</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the file."""
        self.addText(tentakel_configuration(hosts_by_appliance(self.db)))
