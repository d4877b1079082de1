"""`rocks iterate host`"""

import rocks.commands
from rocks.commands._framework.output import write_message
from rocks.core.errors import EXIT_SOME_HOSTS_FAILED
from rocks.inventory.host_records import find_local_host
from rocks.inventory.host_requests import check_no_selector, run_for_each, text_for


class Command(rocks.commands.Command):
    """
    Run a command on this machine for each host, one after the other. The exit status is 0 if the command exits with 0
    for all hosts, 3 if only for some hosts, and 1 if for none.

    <arg optional='1' type='string' name='host' repeat='1' default='all hosts except this machine'>
    Hosts, by name or any other selector.
    </arg>
    <arg type='string' name='command'>
    The command, quoted as one argument, for bash. % is the name of the host, and %% is a single %. Alternative form:
    command=COMMAND, which is required for a command that begins like name=value, and without hosts for one that is the
    name of a host, alias, appliance, membership or rack.
    </arg>
    <shared names='dry-run'/>

    <example cmd='iterate host compute "scp /etc/motd %:/etc/motd"'>
    Copy a file to each compute.
    </example>
    <example cmd='iterate host "ping -c 1 %"'>
    All hosts except this machine.
    </example>

    <related>run host</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Run the command for each host and report failures."""
        selectors, command = self.fillArgument("command")
        if not command:
            self.abort("must supply a command")
        if not selectors and self.from_end:
            check_no_selector(self.db, command, "iterate host")
        local = find_local_host(self.db) if not selectors else None
        hosts = [name for name in self.getHostnames(selectors) if name != local]
        succeeded = 0
        for host, status in run_for_each(self.db, hosts, lambda host: text_for(host, command)):
            if status:
                write_message(f"{host}: exit status {status}")
            succeeded += status == 0
        if succeeded < len(hosts):
            self.exit_status = EXIT_SOME_HOSTS_FAILED if succeeded else 1
