"""`rocks sync host vlan`"""

import rocks.commands
from rocks.actions.vlans import hosts_of, sync_vlans
from rocks.errors import RocksError
from rocks.wire.errors import as_exception

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    Have on hosts the network devices that rocks report host vlan prints, and no others of this system; and have each
    host remember them for its next boot. Devices that guests hang on are never removed, nor those of anybody else.

    Starts and stops do the same for their machines: this is for a host on which somebody has removed a device, or
    where the database was changed.

    <arg type='string' name='host' repeat='1'>
    Hosts; of a virtual machine, its physical host.
    </arg>

    <example cmd='sync host vlan vm-container-0-0'>
    One host.
    </example>
    <related>report host vlan</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Have the devices, and tell what was changed."""
        hosts = hosts_of(self.db, self.getSomeHostnames(args))
        failures: dict[str, RocksError] = {}
        for host, answer in sync_vlans(self.db, hosts):
            if isinstance(answer, RocksError):
                failures[host] = answer
                continue
            for outcome in answer:
                if outcome.error is not None:
                    failures.setdefault(host, as_exception(outcome.error))
                elif outcome.result != "kept":
                    self.showNow(f"{host}: {outcome.device} {_TOLD[outcome.result]}\n")
        self.endOutcomes(failures, len(hosts))


_TOLD = {
    "made": "is made",
    "removed": "is removed: no machine needs it",
    "used": "is needed by no machine, but something hangs on it, so it stays",
}
