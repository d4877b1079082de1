"""`rocks dump host sec_attr`"""

import rocks.commands.dump
from rocks.trust.secret_records import read_of_hosts


class Command(rocks.commands.dump.command):
    """
    Print the commands that set the secret attributes of hosts, with their values: keep the output where only root can
    read it. rocks dump leaves secrets out.

    <arg optional='1' type='string' name='host' repeat='1' default='all hosts'>
    Hosts, by name or any other selector.
    </arg>

    <example cmd='dump host sec_attr'>
    Print one shell command per secret.
    </example>
    <example cmd='dump host sec_attr vm-container-0-0'>
    One host.
    </example>

    <related>dump sec_attr</related>
    <related>set host sec_attr</related>
    """

    MustBeRoot = 1
    InWholeDump = False

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one command per secret."""
        for host, name, value, _ in read_of_hosts(self.db, self.getHostnames(args)):
            self.dump_secret(host, name, value)
