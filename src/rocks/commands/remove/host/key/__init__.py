"""`rocks remove host key`"""

import rocks.commands
from rocks.core.values import read_number
from rocks.site.airboss.records import remove_key


class Command(rocks.commands.Command):
    """
    Remove a public key from a host.

    <shared names='one-host'/>
    <param type='int' name='id' optional='0' unit='none' of='key'>
    ID of the key, as rocks list host key shows it.
    </param>

    <example cmd='remove host key frontend-0-0-0 id=7'>
    Remove the key with the ID 7.
    </example>
    <example cmd='remove host key frontend-0-0-0 id=8'>
    Another key of the same frontend.
    </example>

    <related>list host key</related>
    <related>add host key</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Remove the key."""
        hosts, (number,) = self.requireArguments("id")
        remove_key(self.db, self.getOneHostname(hosts), read_number("id", number, 0))
