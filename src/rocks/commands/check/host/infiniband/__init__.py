"""`rocks check host infiniband`"""

import rocks.commands
from rocks.core.check_lines import WRONG
from rocks.core.errors import RocksError, StateError, without_errors
from rocks.network.infiniband.ports import check_infiniband


class Command(rocks.commands.Command):
    """
    Check the InfiniBand adapters of physical hosts against the database and the kernel's documentation: GUID,
    state and keys of each port, and the keys that each virtual function provides to its guest. With the
    parameter function, also test that a virtual function accepts new values. The exit status is not 0 if a
    check fails.

    <shared names='hosts'/>
    <param type='string' name='function' default='none: only values are read'>
    PCI address of a virtual function that no guest uses. The command writes to it, reads the values back and
    restores them. Only with one host.
    </param>

    <example cmd='check host infiniband vmc-0-0'>
    Check without changing anything.
    </example>
    <example cmd='check host infiniband vmc-0-0 function=0000:03:00.4'>
    Also test an unused virtual function.
    </example>

    <related>sync host ibport</related>
    <related>sync ib partitions</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print a line for each check."""
        function = self.fillText("function", "")
        hosts = self.getSomeHostnames(args)
        failures: dict[str, RocksError] = {}
        self.beginOutput()
        for host, result in without_errors(check_infiniband(self.db, hosts, function), failures):
            for line in result:
                self.addOutput(host, line)
            wrong = sum(line.result == WRONG for line in result)
            if wrong:
                failures[host] = StateError(f"{wrong} of {len(result)} checks failed on {host}")
        self.endOutput(header=("host", "subject", "result", "detail"), trimOwner=False)
        self.endOutcomes(failures, len(hosts))
