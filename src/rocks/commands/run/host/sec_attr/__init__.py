"""`rocks run host sec_attr`"""

import rocks.commands
from rocks.commands._framework.output import write_error_output
from rocks.commands._shared.synced_files import other_hosts
from rocks.core.errors import HostError, RocksError
from rocks.inventory.host_requests import Limits, run_on_hosts
from rocks.trust.secrets import RUN_HOOKS


class Command(rocks.commands.Command):
    """
    Have hosts apply the secret attributes that rocks sync host sec_attr has written: on each host, for each file NAME
    in /etc/rocks/sec_attr, the program /etc/rocks/sec_attr.d/NAME is started, if there is one that is root's, with the
    value as its standard input. The programs are the site's, from a node file or a roll.

    <shared names='any-physical-hosts,dry-run'/>

    <example cmd='run host sec_attr compute-0-0'>
    One host.
    </example>
    <example cmd='run host sec_attr compute'>
    All computes.
    </example>

    <related>sync host sec_attr</related>
    <related>run host</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Run the programs, and print what they print."""
        hosts = other_hosts(self, args)
        failures: dict[str, RocksError] = {}
        for result in run_on_hosts(self.db, hosts, RUN_HOOKS, Limits()):
            self.showNow("".join(f"{result.host}: {line}\n" for line in result.output.splitlines()))
            write_error_output(
                "".join(f"{result.host}: {line}\n" for line in result.error_output.splitlines())
            )
            if result.state != "done" or result.exit_status != 0:
                reason = result.message or f"exit status {result.exit_status}"
                failures[result.host] = HostError(f"{result.state}: {reason}")
        self.endOutcomes(failures, len(hosts))
