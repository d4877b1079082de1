"""`rocks list membership`"""

import rocks.commands
from rocks.inventory.appliances import list_memberships


class Command(rocks.commands.Command):
    """
    List the memberships: appliance, distribution, and whether the membership is offered for new hosts.

    <arg optional='1' type='string' name='membership' repeat='1' default='all'>
    Memberships; % is a wildcard.
    </arg>

    <example cmd='list membership'>
    All memberships.
    </example>
    <example cmd='list membership Compute'>
    One membership.
    </example>

    <related>list appliance</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one row per membership."""
        rows = list_memberships(self.db, self.getMembershipNames(args))
        self.addTable(("membership", "appliance", "distribution", "public"), rows)
