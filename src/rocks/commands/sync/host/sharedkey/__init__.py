"""`rocks sync host sharedkey`"""

import rocks.commands
from rocks.commands._framework.confirmation import confirm_line
from rocks.core.errors import RocksError, StateError, UserError, without_errors
from rocks.site.shared_keys import SharedKey, share_keys

_FINGERPRINT = "SHA256:"


class Command(rocks.commands.Command):
    """
    Exchange SSH keys between hosts and this machine: record the host key of each host, and install the public
    key of this machine on the host.

    The command shows the fingerprint of each key that is not recorded yet, and asks whether it is the one on the
    console of the host (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub). Nothing is sent before the answer yes:
    otherwise another machine at the address could get the password of root. Without a terminal, give fingerprint=.
    The key follows a host that is renamed, and goes with one that is removed.

    <shared names='hosts'/>
    <param type='string' name='fingerprint' default='none: you are asked'>
    The fingerprint that the host's key must have, SHA256:…, instead of the question; for one host.
    </param>
    <param type='bool' name='replace' default='no'>
    Replace the recorded key of a host that was reinstalled.
    </param>
    <shared names='dry-run'/>

    <example cmd='sync host sharedkey vm-container-0-0'>
    One host. The command may prompt for its password.
    </example>
    <example cmd='sync host sharedkey vm-container-0-0 replace=yes'>
    Replace another key that the host has.
    </example>

    <related>run host</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Exchange the keys and report the result of each host."""
        hosts = self.getSomeHostnames(args)
        self._fingerprint = self.fillText("fingerprint", "")
        if self._fingerprint and not self._fingerprint.startswith(_FINGERPRINT):
            raise UserError(f"fingerprint must be one that ssh-keygen -l prints: {_FINGERPRINT}…")
        if self._fingerprint and len(hosts) != 1:
            raise UserError(
                f"fingerprint= is that of one host, not of {len(hosts)}; repeat the command for each"
            )
        failures: dict[str, RocksError] = {}
        results = share_keys(self.db, hosts, self._is_confirmed, self.fillFlag("replace"))
        for _, result in without_errors(results, failures):
            self.showNow(_lines(result))
        self.endOutcomes(failures, len(hosts))

    def _is_confirmed(self, host: str, key_type: str, fingerprint: str) -> bool:
        if self._fingerprint and fingerprint != self._fingerprint:
            raise StateError(
                f"{host} presents {fingerprint} ({key_type}), which is not the given {self._fingerprint}; "
                "nothing was sent to it. Another machine may answer at its address: rocks list host interface "
                f"{host}"
            )
        if self._fingerprint:
            return True
        return confirm_line(
            self,
            f"{host} presents the key {key_type} {fingerprint}\n"
            "Is this the fingerprint on its own console? [yes/no] ",
        )


def _lines(shared: SharedKey) -> str:
    lines = []
    if shared.recorded:
        lines.append(f"{shared.host}: host key recorded: {shared.key_type} {shared.fingerprint}")
    lines.append(
        f"{shared.host}: {'public key installed' if shared.installed else 'public key was already installed'}"
    )
    return "".join(line + "\n" for line in lines)
