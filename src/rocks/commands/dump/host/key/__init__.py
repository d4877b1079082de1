"""`rocks dump host key`"""

import rocks.commands.dump
from rocks.site.airboss.records import list_keys


class Command(rocks.commands.dump.command):
    """
    Print the commands that add the public keys of hosts.

    <shared names='any-hosts'/>

    <example cmd='dump host key'>
    Print one shell command per key; a key has several lines.
    </example>
    <example cmd='dump host key frontend-0-0-0'>
    One host.
    </example>

    <related>add host key</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one command per key."""
        for key in list_keys(self.db, self.getHostnames(args)):
            description = [f"description={key.description}"] if key.description else []
            self.dump("add", "host", "key", key.host, f"key={key.key}", *description)
