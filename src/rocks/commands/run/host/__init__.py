"""`rocks run host`"""

import rocks.commands
from rocks.commands._framework.output import write_error_output, write_message
from rocks.core.clock import monotonic_seconds
from rocks.core.errors import EXIT_SOME_HOSTS_FAILED
from rocks.inventory.host_requests import CommandResult, Limits, check_no_selector, run_on_hosts


class Command(rocks.commands.Command):
    """
    Run a command on hosts in parallel, and print its output as the hosts finish. The exit status is 0 if the
    command exits with 0 on all hosts, 3 if only on some hosts, and 1 if on none.

    <arg optional='1' type='string' name='host' repeat='1' default='all managed hosts'>
    Hosts, by name or any other selector.
    </arg>
    <arg type='string' name='command'>
    The command, quoted as one argument. Alternative form: command=COMMAND, which is required for a command that
    begins like name=value, and without hosts for one that is the name of a host, alias, appliance, membership or rack.
    </arg>
    <param type='bool' name='managed' default='yes'>
    Without host arguments, use only hosts whose attribute managed is true.
    </param>
    <param type='bool' name='x11' default='yes'>
    Ignored; accepted for older scripts. X11 is not forwarded.
    </param>
    <param type='int' name='timeout' default='30' range='0..1000000' unit='seconds'>
    Time after which the command is killed on a host; 0 for no limit.
    </param>
    <param type='int' name='delay' default='0' range='0..1000000' unit='seconds'>
    Time between the starts on two hosts.
    </param>
    <param type='bool' name='stats' default='no'>
    Print the duration for each host.
    </param>
    <param type='bool' name='collate' default='no'>
    Prefix each line with the name of the host.
    </param>
    <param type='int' name='num-threads' default='128' range='-999999999..' unit='hosts'>
    Number of hosts at the same time; 0 for all.
    </param>
    <shared names='dry-run'/>

    <example cmd='run host compute-0-0 "uptime"'>
    One host.
    </example>
    <example cmd='run host rack1 collate=yes timeout=5 "uname -r"'>
    All hosts of a rack, with a limit of five seconds.
    </example>

    <related>iterate host</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Run the command and print each result when it arrives."""
        selectors, command = self.fillArgument("command")
        if not command:
            self.abort("must supply a command")
        limits = Limits(self.fillNumber("timeout"), self.fillNumber("delay"), self.fillNumber("num-threads"))
        self.fillFlag("x11", True)
        collate, stats = self.fillFlag("collate"), self.fillFlag("stats")
        if not selectors and self.from_end:
            check_no_selector(self.db, command, "run host")
        hosts = self.getHostnames(selectors, managed_only=self.fillFlag("managed", True))
        if not hosts and not selectors:
            self.notify(
                "no host selected: without arguments the command runs on hosts whose attribute managed is true"
            )
        begin, succeeded = monotonic_seconds(), 0
        for result in run_on_hosts(self.db, hosts, command, limits):
            prefix = f"{result.host}: " if collate else ""
            self.showNow(_prefixed(result.output, prefix))
            self._report_failure(result, prefix)
            if stats:
                seconds = monotonic_seconds() - begin
                self.showNow(f"{prefix}command on host {result.host} took {seconds:.2f} seconds\n")
            succeeded += result.state == "done" and result.exit_status == 0
        if succeeded < len(hosts):
            self.exit_status = EXIT_SOME_HOSTS_FAILED if succeeded else 1

    def _report_failure(self, result: CommandResult, prefix: str) -> None:
        write_error_output(_prefixed(result.error_output, prefix))
        if result.state == "down":
            self.showNow(f"{result.host}: down\n")
        elif result.state == "timeout":
            self.showNow(f"{result.host}: timeout, the command was killed\n")
        elif result.exit_status:
            write_message(f"{result.host}: exit status {result.exit_status}")
        if result.message and result.state != "down":
            write_message(f"{result.host}: {result.message}")


def _prefixed(output: str, prefix: str) -> str:
    """The output with `prefix` before each line and a newline at its end, otherwise unchanged."""
    lines = output.removesuffix("\n").split("\n") if output else []
    return "".join(f"{prefix}{line}\n" for line in lines)
