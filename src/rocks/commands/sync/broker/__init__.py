"""`rocks sync broker`"""

import rocks.commands
from rocks.storage.broker.broker import sync_broker


class Command(rocks.commands.Command):
    """
    Configure the message broker on this machine: a user with its permissions for each host with a certificate
    and a role in image storage, no users for other hosts, the broker's own certificate, and the revocation
    list. Users of other applications are not changed. The command fails if the attribute RABBITMQ_Server names
    another host; configure that broker with report broker.

    <shared names='dry-run'/>

    <example cmd='sync broker'>
    Apply changed certificates or attributes img_storage_nas and img_storage_vm.
    </example>
    <example cmd='sync broker dry-run=yes'>
    Print what would be written, and write nothing.
    </example>

    <related>report broker</related>
    <related>add host certificate</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Configure the broker and print its users."""
        synced = sync_broker(self.db)
        self.addText(f"users: {' '.join(synced.users) or 'none'}\n")
        if synced.removed:
            self.addText(f"removed: {' '.join(synced.removed)}\n")
