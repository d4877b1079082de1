"""`rocks run host`"""

import sys

import rocks.commands
from rocks.actions.host_commands import LONGEST_SECONDS, CommandResult, Limits, run_on_hosts
from rocks.clock import monotonic_seconds
from rocks.cluster.values import HIGHEST_NUMBER, read_number
from rocks.commands._framework.arguments import FIRST_PARAMETER
from rocks.commands._framework.run_command import FRAMEWORK_PARAMETERS
from rocks.errors import EXIT_SOME_HOSTS_FAILED

_PARAMETERS = FRAMEWORK_PARAMETERS | {
    FIRST_PARAMETER,
    *("command", "managed", "x11", "timeout", "delay", "stats", "collate", "num-threads"),
}


class Command(rocks.commands.Command):
    """
    Run a command on hosts, many at once, and show what it prints as the hosts end. The exit status is 0 when it
    ended with 0 everywhere, 3 when it did so on some hosts only, 1 when on none.

    <arg optional='1' type='string' name='host' repeat='1'>
    Hosts, by name or any other selector; all managed ones when none is given.
    </arg>
    <arg type='string' name='command'>
    The command, one word: in quotes. May be given as command=…, which it must when it begins like name=value.
    </arg>
    <param type='bool' name='managed'>
    Only hosts whose attribute managed is true, when no host is given; yes by default.
    </param>
    <param type='bool' name='x11'>
    Taken for the sake of older scripts; windows of the hosts' programs are not shown here.
    </param>
    <param type='int' name='timeout'>
    Seconds after which the command is killed on a host, 30 by default; 0 waits for ever.
    </param>
    <param type='int' name='delay'>
    Seconds between the starts on two hosts, 0 by default.
    </param>
    <param type='bool' name='stats'>
    Tell how many seconds after the beginning each host ended; no by default.
    </param>
    <param type='bool' name='collate'>
    Put the host's name before each line; no by default.
    </param>
    <param type='int' name='num-threads'>
    Hosts at the same time, 128 by default; 0 is all of them.
    </param>

    <example cmd='run host compute-0-0 "uptime"'>
    One host.
    </example>
    <example cmd='run host rack1 collate=yes timeout=5 "uname -r"'>
    All hosts of a rack, for five seconds at most.
    </example>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Run it, and show each result as it comes."""
        words, command = self.fillPositionalArgs(("command",))
        self._refuse_lost_words(params)
        if not command:
            self.abort("must supply a command")
        limits = self._limits()
        self.fillFlag("x11", True)
        collate, stats = self.fillFlag("collate"), self.fillFlag("stats")
        hosts = self.getHostnames(words, managed_only=self.fillFlag("managed", True))
        if not hosts and not words:
            self.notify(
                "no host is meant: without names a command runs on the hosts whose attribute managed is true"
            )
        begin, succeeded = monotonic_seconds(), 0
        for result in run_on_hosts(self.db, hosts, command, limits):
            prefix = f"{result.host}: " if collate else ""
            self.showNow(_prefixed(result.output, prefix))
            self._tell_failure(result, prefix)
            if stats:
                seconds = monotonic_seconds() - begin
                self.showNow(f"{prefix}command on host {result.host} took {seconds:.2f} seconds\n")
            succeeded += result.state == "done" and result.exit_status == 0
        if succeeded < len(hosts):
            self.exit_status = EXIT_SOME_HOSTS_FAILED if succeeded else 1

    def _limits(self) -> Limits:
        timeout, delay, threads = self.fillParams([("timeout", "30"), ("delay", "0"), ("num-threads", "128")])
        return Limits(
            read_number("timeout", timeout, 0, LONGEST_SECONDS),
            read_number("delay", delay, 0, LONGEST_SECONDS),
            read_number("num-threads", threads, -HIGHEST_NUMBER),
        )

    def _refuse_lost_words(self, params: dict[str, str]) -> None:
        """A command such as `LANG=C ls` was read as a parameter; another word would be run in its place."""
        for name in params:
            if name not in _PARAMETERS:
                self.abort(
                    f'"{name}=…" is no parameter of this command: if it begins the command to be run, '
                    f'write command="{name}=…"'
                )

    def _tell_failure(self, result: CommandResult, prefix: str) -> None:
        sys.stderr.write(_prefixed(result.error_output, prefix))
        if result.state == "down":
            self.showNow(f"{result.host}: down\n")
        elif result.state == "timeout":
            self.showNow(f"{result.host}: timeout, the command was killed\n")
        elif result.exit_status:
            print(f"{result.host}: exit status {result.exit_status}", file=sys.stderr)
        if result.message and result.state != "down":
            print(f"{result.host}: {result.message}", file=sys.stderr)


def _prefixed(output: str, prefix: str) -> str:
    """The output with `prefix` before each line, and a newline at its end; its other characters are the command's."""
    lines = output.removesuffix("\n").split("\n") if output else []
    return "".join(f"{prefix}{line}\n" for line in lines)
