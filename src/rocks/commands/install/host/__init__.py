"""`rocks install host`"""

import rocks.commands
from rocks.commands._shared.synced_files import show_profile
from rocks.core.errors import RocksError, without_errors
from rocks.install.installation.states import claim_installations, follow_installations
from rocks.install.profile_sync import sync_profiles
from rocks.leases.after_restore import compare_leases
from rocks.network.dns.service import sync_names_of_hosts
from rocks.site.certificates import certify_storage_hosts, deploy_certificates
from rocks.storage.broker.broker import sync_broker


class Command(rocks.commands.Command):
    """
    Wait until hosts are installed, and make them members of the site. Each report of a host is printed: discover host
    or set host boot action=install came before. When no installation is under way any more, the installed hosts get
    the names of all hosts, a certificate and a user of the message broker where image storage needs them, and their
    profile once more, which starts what waited for these. At a new site, all hosts are asked which machines run there,
    as by sync vm lease. Run it again after an interruption, or when a host that failed is repaired: it changes only
    what is missing. While it runs, another one for the same hosts is rejected.

    <shared names='hosts,dry-run'/>

    <example cmd='install host nas vm-container'>
    All NASes and VM containers.
    </example>
    <example cmd='install host nas-0-0 dry-run=yes'>
    Wait for nothing, and print what would be done on one host.
    </example>

    <related>discover host</related>
    <related>list host install</related>
    <related>check site</related>
    """

    AdviceAfterInterrupt = "the installations go on; the same command waits for them again"

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Follow the hosts, then do each step for all of them that have not failed."""
        hosts = self.getSomeHostnames(args)
        claim_installations(self.db, hosts)
        failures: dict[str, RocksError] = {}
        if not self.is_dry:
            for host, report in without_errors(follow_installations(self.db, hosts), failures):
                self.showLine(f"{host}: {report}")
        ready = [host for host in hosts if host not in failures]
        for host, is_changed in without_errors(sync_names_of_hosts(self.db, ready), failures):
            if is_changed:
                self.showLine(f"{host}: names written")
        certified = certify_storage_hosts(self.db, [host for host in ready if host not in failures])
        if certified:
            for host, _ in without_errors(deploy_certificates(self.db, certified), failures):
                self.showLine(f"{host}: has its certificate")
            try:
                users = sync_broker(self.db).users
            except RocksError as error:  # such as a broker on another host
                self.notify(f"Warning: the broker's users stay as they are: {error}")
            else:
                self.showLine(f"users of the broker: {' '.join(users)}")
        ready = [host for host in ready if host not in failures]
        for host, outcome in without_errors(sync_profiles(self.db, ready), failures):
            show_profile(self, host, outcome)
            if outcome.is_complete:
                self.showLine(f"{host}: complete")
        if not self.is_dry and not failures:
            try:  # a new database does not know that no machine runs there
                compare_leases(self.db, self.notify, only_when_due=True)
            except RocksError as error:  # such as another host that is off
                self.notify(f"Warning: the leases are not compared with what the hosts report: {error}")
        self.endOutcomes(failures, len(hosts))
