"""`rocks sync host sriov`"""

import rocks.commands
from rocks.core.errors import RocksError
from rocks.network.sriov.adapters import create_vfs


class Command(rocks.commands.Command):
    """
    Create the virtual functions that are set for adapters of hosts, before a virtual machine requests the first
    one. Creating functions resets the adapter, which interrupts its other traffic for a second or more. The
    number of functions is never reduced.

    <arg type='string' name='host' repeat='1'>
    Physical hosts, by name or any other selector. Hosts whose adapters provide no functions are skipped.
    </arg>
    <shared names='dry-run'/>

    <example cmd='sync host sriov vm-container'>
    All VM containers.
    </example>
    <example cmd='sync host sriov vmc-0-0'>
    One host.
    </example>

    <related>set host sriov</related>
    <related>list host sriov</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Create the functions and report failures."""
        answers = create_vfs(self.db, self.getSomeHostnames(args))
        failures = {host: answer for host, answer in answers.items() if isinstance(answer, RocksError)}
        self.endOutcomes(failures, len(answers))
