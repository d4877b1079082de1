"""`rocks sync broker`"""

import rocks.commands
from rocks.actions.message_broker import sync_broker


class Command(rocks.commands.Command):
    """
    Bring the message broker of this machine into line: a user for each host that has a certificate and a role in image
    storage, with the rights of that role, and none for any other; its own certificate; the list of revoked ones.
    Users that are not ours are left alone. Refused when the attribute RABBITMQ_Server names another host: the broker
    there is set up by who runs it.

    <example cmd='sync broker'>
    After certificates were added, or attributes img_storage_nas and img_storage_vm changed.
    </example>

    <related>report broker</related>
    <related>add host certificate</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Bring it into line and tell what there is."""
        synced = sync_broker(self.db)
        self.addText(f"users: {' '.join(synced.users) or 'none'}\n")
        if synced.removed:
            self.addText(f"removed: {' '.join(synced.removed)}\n")
