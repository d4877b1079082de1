"""`rocks list host sriov`"""

from collections.abc import Sequence

import rocks.commands
from rocks.network.sriov.adapters import adapters_of, assigned_on
from rocks.network.sriov.function_choice import AdapterRow, VfRow, now_cells, vf_rows

HEADER = ("host", "iface", "function", "vm", "mac")
STATUS_HEADER = ("address", "vlan", "now")


class Command(rocks.commands.Command):
    """
    List the virtual functions (SR-IOV) of adapters and the virtual machines that use them. A machine holds its
    function from its start until its host has confirmed the release.

    <shared names='any-hosts'/>
    <param type='bool' name='status' default='no'>
    yes: query the hosts for the PCI address, VLAN and current user of each function: free, guest NAME, or the
    host's own network device. The state is absent if the function has not been created, and no answer if the
    host did not respond within 20 seconds.
    </param>

    <example cmd='list host sriov'>
    All functions of the site.
    </example>
    <example cmd='list host sriov vm-container-0-0 status=yes'>
    The functions of one host with their current state.
    </example>

    <related>set host sriov</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one row per function."""
        with_status = self.fillFlag("status")
        names = self.getHostnames(args)
        adapters = adapters_of(self.db, names)
        rows = vf_rows(adapters, assigned_on(self.db, names))
        status = self._status(rows, adapters) if with_status else {}
        header = (*HEADER, *STATUS_HEADER * with_status)
        self.addTable(header, ((*row, *status.get(row, ())) for row in rows), trimOwner=False)

    def _status(
        self, rows: Sequence[VfRow], adapters: Sequence[AdapterRow]
    ) -> dict[VfRow, tuple[str | None, str | None, str]]:
        from rocks.core.errors import RocksError
        from rocks.network.sriov.adapters import ask_adapters  # hosts are reached by heavy libraries

        answers = {}
        for host, answer in ask_adapters(self.db, sorted({adapter.host for adapter in adapters})).items():
            if isinstance(answer, RocksError):
                self.notify(f"{host}: {answer}")
            else:
                answers[host] = answer
                for adapter in answer:
                    if adapter.problem:
                        self.notify(f"{host}: {adapter.problem}")
        return {row: now_cells(row, adapters, answers) for row in rows}
