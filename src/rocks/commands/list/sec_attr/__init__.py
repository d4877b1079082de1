"""`rocks list sec_attr`"""

import rocks.commands
from rocks.trust.secret_records import read_global


class Command(rocks.commands.Command):
    """
    List the secret attributes of all hosts, with their values.

    <example cmd='list sec_attr'>
    All of them.
    </example>

    <related>set sec_attr</related>
    <related>list host sec_attr</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one row per attribute."""
        self.beginOutput()
        for _, name, value, encoding in read_global(self.db):
            self.addOutput(name, (value, encoding))
        self.endOutput(header=("attr", "value", "enc"), trimOwner=False)
