"""`rocks list host roll`"""

import rocks.commands
from rocks.install.rolls.host_rolls import frontends_among, list_host_rolls


class Command(rocks.commands.Command):
    """
    List the rolls that are chosen for frontends. Other hosts are skipped.

    <shared names='any-hosts'/>

    <example cmd='list host roll frontend-0-0-0'>
    One frontend.
    </example>
    <example cmd='list host roll'>
    All hosts.
    </example>

    <related>set host roll</related>
    <related>list roll</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one row per roll of a frontend."""
        rows = list_host_rolls(self.db, frontends_among(self.db, self.getHostnames(args)))
        self.addTable(("host", "name", "version", "arch", "os"), rows, trimOwner=False)
