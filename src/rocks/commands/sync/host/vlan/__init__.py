"""`rocks sync host vlan`"""

import rocks.commands
from rocks.cluster.vlan_devices import hosts_of, sync_vlans
from rocks.core.errors import RocksError, without_errors
from rocks.fleet.wire.errors import as_exception, at_host

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    Create the network devices that rocks report host vlan prints on hosts, remove other devices of this system,
    and let each host restore them at its next boot. Devices in use by guests and devices of other applications
    are never removed.

    Starts and stops do the same for their machines. Use this command after devices on a host were removed
    manually or the database was changed.

    <arg type='string' name='host' repeat='1'>
    Hosts; for a virtual machine, its physical host.
    </arg>
    <shared names='dry-run'/>

    <example cmd='sync host vlan vm-container-0-0'>
    One host.
    </example>
    <example cmd='sync host vlan vm-container'>
    All VM containers.
    </example>
    <related>report host vlan</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Create and remove devices, and print the changes."""
        hosts = hosts_of(self.db, self.getSomeHostnames(args))
        failures: dict[str, RocksError] = {}
        for host, answer in without_errors(sync_vlans(self.db, hosts), failures):
            for outcome in answer:
                if outcome.error is not None:
                    failures.setdefault(host, at_host(host, as_exception(outcome.error)))
                elif outcome.result != "kept":
                    self.showLine(f"{host}: {outcome.device} {_RESULTS[outcome.result]}")
        self.endOutcomes(failures, len(hosts))


_RESULTS = {
    "made": "created",
    "removed": "removed: no machine requires it",
    "used": "not required by any machine, but in use; it remains",
}
