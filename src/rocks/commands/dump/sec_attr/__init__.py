"""`rocks dump sec_attr`"""

import rocks.commands.dump
from rocks.trust.secret_records import read_global


class Command(rocks.commands.dump.command):
    """
    Print the commands that set the global secret attributes, with their values: keep the output where only root can
    read it. rocks dump leaves secrets out.

    <example cmd='dump sec_attr'>
    Print one shell command per secret.
    </example>

    <related>dump host sec_attr</related>
    <related>set sec_attr</related>
    """

    MustBeRoot = 1
    InWholeDump = False

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one command per secret."""
        for _, name, value, _ in read_global(self.db):
            self.dump_secret(None, name, value)
