"""`rocks report dbhost`"""

import rocks.commands


class Command(rocks.commands.Command):
    """
    Report the host that the cluster database is on; localhost when it is reached by its socket.

    <example cmd='report dbhost'>
    Where the database is.
    </example>

    <related>report database</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the host."""
        settings = self.db.settings
        self.addText(f"{'localhost' if settings.socket else settings.host}\n")
