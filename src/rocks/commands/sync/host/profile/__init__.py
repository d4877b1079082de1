"""`rocks sync host profile`"""

import rocks.commands
from rocks.commands._shared.synced_files import show_profile
from rocks.core.errors import RocksError, without_errors
from rocks.install.profile_sync import sync_profiles


class Command(rocks.commands.Command):
    """
    Run the profiles of hosts on them, as root and side by side: the script that rocks report host profile prints. It
    changes only what differs, so it can be repeated. A first run installs packages and may take minutes.

    <shared names='hosts,dry-run'/>

    <example cmd='sync host profile nas-0-0 vm-container-0-0'>
    Two hosts.
    </example>
    <example cmd='sync host profile vm-container'>
    All hosts of an appliance.
    </example>

    <related>report host profile</related>
    <related>sync host network</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the changes of each host."""
        hosts = self.getSomeHostnames(args)
        failures: dict[str, RocksError] = {}
        for host, outcome in without_errors(sync_profiles(self.db, hosts), failures):
            if outcome.is_complete and not outcome.changes:
                self.showLine(f"{host}: unchanged")
            show_profile(self, host, outcome)
        self.endOutcomes(failures, len(hosts))
