"""`rocks list host sec_attr`"""

import rocks.commands
from rocks.trust.secret_records import read_of_hosts


class Command(rocks.commands.Command):
    """
    List the secret attributes of hosts, with their values. Those of all hosts are not included: see list
    sec_attr. ENC is the encoding of a value that another program has stored encoded; set host sec_attr stores plain
    text, and no encoding.

    <arg optional='1' type='string' name='host' repeat='1' default='all hosts'>
    Hosts, by name or any other selector.
    </arg>

    <example cmd='list host sec_attr vm-container-0-0'>
    Those of one host.
    </example>
    <example cmd='list host sec_attr'>
    All hosts.
    </example>

    <related>set host sec_attr</related>
    <related>list sec_attr</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one row per attribute."""
        self.beginOutput()
        for host, *row in read_of_hosts(self.db, self.getHostnames(args)):
            self.addOutput(host, row)
        self.endOutput(header=("host", "attr", "value", "enc"), trimOwner=False)
