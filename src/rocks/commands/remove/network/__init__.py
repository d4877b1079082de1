"""`rocks remove network`"""

import rocks.commands
from rocks.actions.networks import remove_network


class Command(rocks.commands.Command):
    """
    Remove networks. One that an interface of a host is on stays, and so do all the others then.

    <arg type='string' name='network' repeat='1'>
    Networks, % is a wildcard.
    </arg>

    <example cmd='remove network optiputer'>
    Remove one network, and the routes that lead through it.
    </example>

    <related>add network</related>
    <related>list network</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Remove the networks."""
        if not args:
            self.abort("must supply at least one network")
        remove_network(self.db, self.getNetworkNames(args))
