"""`rocks sync host network`"""

import rocks.commands
from rocks.commands._shared.after_change import sync_config_after
from rocks.commands._shared.synced_files import show_profile
from rocks.core import dry_run
from rocks.core.errors import RocksError, without_errors
from rocks.install.profile_sync import sync_networks, sync_rules
from rocks.network.host_network_plan import plan_network
from rocks.network.host_network_records import load_host_networks


class Command(rocks.commands.Command):
    """
    Have hosts set up their network devices and routes as the database has them: the node network of their profiles, and
    nothing else of them. Routes of hosts with systemd-networkd are set at once. Addresses, the default route, names of
    devices, bridges and bonds take effect at the next boot of the host, so that nothing is cut off; no network service
    is restarted. Afterwards hosts whose attribute firewall is true get their rules, plugins run with the names of the
    hosts, and rocks sync config follows.

    <shared names='hosts,dry-run'/>

    <example cmd='sync host network compute-0-0'>
    After rocks add host route.
    </example>
    <example cmd='sync host network compute'>
    All hosts of an appliance at once.
    </example>

    <related>report host interface</related>
    <related>report host route</related>
    <related>add host route</related>
    <related>sync host firewall</related>
    <related>report host profile</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the changes of each host."""
        hosts = self.getSomeHostnames(args)
        failures: dict[str, RocksError] = {}
        if dry_run.is_on():  # else the profile says so
            for record in load_host_networks(self.db, hosts):
                for one in plan_network(record).left_out:
                    dry_run.would(record.name, f"warn: {one.text}")
        for host, outcome in without_errors(sync_networks(self.db, hosts), failures):
            show_profile(self, host, outcome)
        others = [host for host in hosts if host not in failures]
        for host, result in without_errors(sync_rules(self.db, others), failures):
            if result == "loaded":
                self.showLine(f"{host}: firewall rules loaded")
        self.runPlugins(hosts)
        sync_config_after(self)
        self.endOutcomes(failures, len(hosts))
