"""`rocks sync host sharedkey`"""

import rocks.commands
from rocks.actions.shared_keys import SharedKey, share_keys
from rocks.errors import RocksError


class Command(rocks.commands.Command):
    """
    Exchange SSH keys between hosts and this machine: record the host key of each host, and install the public
    key of this machine on the host. The command prints each newly recorded key: compare its fingerprint with
    the one on the console of the host.

    <arg type='string' name='host' repeat='1'>
    Hosts, by name or any other selector.
    </arg>
    <param type='bool' name='replace'>
    Replace the recorded key of a host that was reinstalled; default: no.
    </param>

    <example cmd='sync host sharedkey vm-container-0-0'>
    One host. The command may prompt for its password.
    </example>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Exchange the keys and report the result of each host."""
        hosts = self.getSomeHostnames(args)
        replace = self.fillFlag("replace")
        failures: dict[str, RocksError] = {}
        for host, result in share_keys(self.db, hosts, replace):
            if isinstance(result, RocksError):
                failures[host] = result
            else:
                self.showNow(_lines(result))
        self.endOutcomes(failures, len(hosts))


def _lines(shared: SharedKey) -> str:
    lines = []
    if shared.recorded:
        lines.append(f"{shared.host}: host key recorded: {shared.key_type} {shared.fingerprint}")
    lines.append(
        f"{shared.host}: {'public key installed' if shared.installed else 'public key was already installed'}"
    )
    return "".join(line + "\n" for line in lines)
