"""Revokes the hosts' certificates."""

from collections.abc import Sequence

from rocks.commands.remove.host import HostPart


class Plugin(HostPart):
    """Hook of `remove host`."""

    def run_all(self, hosts: Sequence[str]) -> None:
        """Revoke them; a removal that fails later leaves them revoked."""
        from rocks.actions.certificates import (
            remove_certificates,
        )  # the library for certificates is slow to load

        for host in remove_certificates(self.db, hosts):
            # to carry the list from here would commit a removal that is only half done
            self.owner.notify(
                f"Warning: the certificate of {host} is revoked, and other nodes take transfers from it until they "
                "know: rocks sync host certificate NODE..."
            )
