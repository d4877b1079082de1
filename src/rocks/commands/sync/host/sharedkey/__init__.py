"""`rocks sync host sharedkey`"""

import rocks.commands
from rocks.actions.shared_keys import SharedKey, share_keys
from rocks.errors import RocksError


class Command(rocks.commands.Command):
    """
    Make hosts and this machine known to each other: record the key by which a host proves itself, and have the
    host accept the key by which this machine logs in. The host's key is shown when it is recorded: compare its
    fingerprint with the one on the host's own console.

    <arg type='string' name='host' repeat='1'>
    Hosts, by name or any other selector.
    </arg>
    <param type='bool' name='replace'>
    Record another key than the one that is known, for a host that was installed anew; no by default.
    </param>

    <example cmd='sync host sharedkey vm-container-0-0'>
    One host. Its password may be asked for.
    </example>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Share the keys and tell of each host what was done."""
        hosts = self.getSomeHostnames(args)
        replace = self.fillFlag("replace")
        failures: dict[str, RocksError] = {}
        for host, result in share_keys(self.db, hosts, replace):
            if isinstance(result, RocksError):
                failures[host] = result
            else:
                self.showNow(_told(result))
        self.endOutcomes(failures, len(hosts))


def _told(shared: SharedKey) -> str:
    lines = []
    if shared.recorded:
        lines.append(f"{shared.host}: its key is recorded: {shared.key_type} {shared.fingerprint}")
    lines.append(
        f"{shared.host}: {'our key is installed' if shared.installed else 'our key was installed before'}"
    )
    return "".join(line + "\n" for line in lines)
