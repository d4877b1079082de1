"""Revokes the hosts' certificates."""

from collections.abc import Sequence

from rocks.commands.remove.host import HostPart


class Plugin(HostPart):
    """Hook of `remove host`."""

    def run_all(self, hosts: Sequence[str]) -> None:
        """Revoke the certificates; they stay revoked if the removal fails later."""
        # Imported late: the library for certificates is slow to load.
        from rocks.actions.certificates import remove_certificates

        for host in remove_certificates(self.db, hosts):
            # deploying the list here would commit a half-done removal
            self.owner.notify(
                f"Warning: the certificate of {host} is revoked; run rocks sync host certificate NODE... for the other "
                "nodes, which accept its transfers until then"
            )
