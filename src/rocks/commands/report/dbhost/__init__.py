"""`rocks report dbhost`"""

import rocks.commands


class Command(rocks.commands.Command):
    """
    Report the host of the cluster database; localhost if it is accessed through its socket.

    <example cmd='report dbhost'>
    The host of the database.
    </example>

    <related>report database</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the host."""
        settings = self.db.settings
        self.addText(f"{'localhost' if settings.socket else settings.host}\n")
