"""`rocks sync host sriov`"""

import rocks.commands
from rocks.actions.sriov import make_vfs
from rocks.errors import RocksError


class Command(rocks.commands.Command):
    """
    Have the adapters of hosts make the virtual functions that they are to give, before a virtual machine wants the
    first: making them resets the adapter, so that other traffic over it stops for a second or more. Where there are
    enough, nothing is done; there never become fewer.

    <arg type='string' name='host' repeat='1'>
    Physical hosts, by name or any other selector. Those whose adapters give no functions are passed over.
    </arg>

    <example cmd='sync host sriov vm-container'>
    All VM containers.
    </example>

    <related>set host sriov</related>
    <related>list host sriov</related>
    """

    RefusesUnknownParameters = True

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Have them made, and report the hosts where they are not."""
        answers = make_vfs(self.db, self.getSomeHostnames(args))
        failures = {host: answer for host, answer in answers.items() if isinstance(answer, RocksError)}
        self.endOutcomes(failures, len(answers))
