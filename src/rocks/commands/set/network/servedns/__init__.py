"""`rocks set network servedns`"""

import rocks.commands
from rocks.actions.networks import set_network_servedns
from rocks.commands._framework.arguments import yes_or_no


class Command(rocks.commands.Command):
    """
    Set whether the frontend serves the names of networks.

    <arg type='string' name='network' repeat='1'>
    Networks, % is a wildcard.
    </arg>
    <arg type='bool' name='servedns'>
    yes or no. May be given as servedns=.
    </arg>

    <example cmd='set network servedns optiputer yes'>
    Serve the names of the zone of this network.
    </example>

    <related>add network</related>
    <related>list network</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Read networks and value; change them."""
        networks, value = self.fillPositionalArgs(("servedns",))
        if not networks:
            self.abort("must supply at least one network")
        set_network_servedns(self.db, self.getNetworkNames(networks), yes_or_no("servedns", value))
