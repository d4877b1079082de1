"""`rocks discover host`"""

import contextlib

import rocks.commands


class Command(rocks.commands.Command):
    """
    Wait for unknown machines that ask for a network boot on the network private, and make each a host: it gets the
    next free name and address, and its next boot is its installation. One line is printed for each. It ends after
    Ctrl-C, after count hosts or after timeout seconds. Machines whose MAC address is in the database are not changed.
    The boot service must be running: rocks start service boot. On Rocks sites this command is insert-ethers.

    <param type='string' name='appliance' default='compute'>
    Appliance of the new hosts.
    </param>
    <param type='int' name='rack' default='0' range='0..' unit='none'>
    Number of their rack.
    </param>
    <param type='int' name='rank' default='0' range='0..65534' unit='none'>
    Lowest rank; the first free one from there on is used.
    </param>
    <param type='int' name='count' default='no limit' range='1..' unit='hosts'>
    End after so many hosts. Fewer when the time ends are an error.
    </param>
    <param type='int' name='timeout' default='no limit' range='1..' unit='seconds'>
    End after this time.
    </param>
    <param type='int' name='per-minute' default='64' range='1..' unit='hosts a minute'>
    Most hosts that are added within a minute; beyond it the command ends, and says so.
    </param>

    <example cmd='discover host'>
    New machines become compute-0-0, compute-0-1 …
    </example>
    <example cmd='discover host appliance=nas count=1 timeout=600'>
    One NAS, within ten minutes.
    </example>

    <related>list host install</related>
    <related>start service boot</related>
    """

    NoDryRun = "it waits for machines that it does not know yet"

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one line for each host."""
        from rocks.install.boot.discovery import DiscoverySettings, discover_hosts

        settings = DiscoverySettings(
            self.fillText("appliance", "compute"),
            self.fillNumber("rack"),
            self.fillNumber("rank"),
            self.fillGivenNumber("count"),
            self.fillGivenNumber("timeout"),
            self.fillNumber("per-minute"),
        )
        with contextlib.suppress(KeyboardInterrupt):  # the way to end it
            for host in discover_hosts(self.db, settings, self.notify):
                self.showLine(f"{host.mac} is {host.name}, {host.address}; to be installed")
