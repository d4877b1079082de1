"""`rocks list host install`"""

import rocks.commands
from rocks.install.installation.states import list_installations


class Command(rocks.commands.Command):
    """
    List how far the installation of hosts is: the state, since when (in UTC), and what the host reported last. The
    state is waiting (it has not asked for its plan), installing, failed (its console has a shell), installed (it
    starts from its disk), first boot (its profile runs), first boot failed, or configured. Hosts that the roll's
    installer has not installed are left out.

    <shared names='any-hosts'/>

    <example cmd='list host install'>
    All hosts.
    </example>
    <example cmd='list host install compute-0-0'>
    One host.
    </example>

    <related>set host boot</related>
    <related>discover host</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one row per host."""
        self.beginOutput()
        for name, found in list_installations(self.db, self.getHostnames(args)):
            since = found.since.strftime("%Y-%m-%d %H:%M:%S")
            self.addOutput(name, (found.state.value, since, found.report))
        self.endOutput(header=("host", "state", "since", "report"), trimOwner=False)
