"""`rocks list host key`"""

import rocks.commands
from rocks.site.airboss.records import list_keys


class Command(rocks.commands.Command):
    """
    List the public keys of hosts. The first line of a key has its ID and its description.

    <shared names='any-hosts'/>

    <example cmd='list host key frontend-0-0-0'>
    One host.
    </example>
    <example cmd='list host key'>
    All frontends of clusters.
    </example>

    <related>add host key</related>
    <related>remove host key</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one row per line of a key."""
        self.beginOutput()
        for key in list_keys(self.db, self.getHostnames(args)):
            first, *others = key.key.split("\n")
            self.addOutput(key.host, (key.id, key.description, first))
            for line in others:
                self.addOutput("", (" ", " ", line))
        self.endOutput(header=("host", "id", "description", "public key"), trimOwner=False)
