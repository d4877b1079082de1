"""`rocks check host infiniband`"""

import rocks.commands
from rocks.actions.infiniband_ports import check_infiniband
from rocks.cluster.infiniband_check import WRONG
from rocks.errors import RocksError, StateError


class Command(rocks.commands.Command):
    """
    Look whether the InfiniBand adapters of physical hosts are as the database says and as the kernel's documents
    describe them: GUID, state and keys of each port; which keys each virtual function shows its guest; and, with a
    function, that it takes what it is given. The exit status is not 0 when anything is wrong.

    <arg type='string' name='host' repeat='1'>
    Hosts, by name or any other selector.
    </arg>
    <param type='string' name='function'>
    PCI address of a virtual function that no guest has: it is written to, read back, and put back. One host only.
    </param>

    <example cmd='check host infiniband vmc-0-0'>
    Nothing is changed.
    </example>
    <example cmd='check host infiniband vmc-0-0 function=0000:03:00.4'>
    Tried on a free function too.
    </example>

    <related>sync host ibport</related>
    <related>sync ib partitions</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print a line for each thing that was looked at."""
        (function,) = self.fillParams([("function", "")])
        hosts = self.getSomeHostnames(args)
        failures: dict[str, RocksError] = {}
        self.beginOutput()
        for host, result in check_infiniband(self.db, hosts, function):
            if isinstance(result, RocksError):
                failures[host] = result
                continue
            for line in result:
                self.addOutput(host, line)
            wrong = sum(line.result == WRONG for line in result)
            if wrong:
                failures[host] = StateError(
                    f"{wrong} of {len(result)} things on {host} are not as they should be"
                )
        self.endOutput(header=("host", "subject", "result", "detail"), trimOwner=False)
        self.endOutcomes(failures, len(hosts))
