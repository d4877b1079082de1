"""Revokes the hosts' certificates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.commands._framework.plugins import TAIL
from rocks.commands.remove.host import HostPart

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.core.errors import BusyError


class Plugin(HostPart):
    """Hook of `remove host`."""

    def requires(self) -> list[str]:
        """Last: a certificate that is revoked stays so, also when another hook fails."""
        return [TAIL, "node"]

    def check_all(self, hosts: Sequence[str]) -> None:
        """StateError when the broker, which must close the hosts' connections, does not answer."""
        from rocks.site.certificates import check_broker_answers

        check_broker_answers(self.db, hosts)

    def run_all(self, hosts: Sequence[str]) -> None:
        """Revoke the certificates. A broker that fails now is a warning: the hosts are removed."""
        # Imported late: the library for certificates is slow to load.
        from rocks.site.certificates import remove_certificates

        def warn(error: BusyError) -> None:
            self.owner.notify(f"Warning: {error}")

        for host in remove_certificates(self.db, hosts, warn):
            self.owner.notify(
                f"Warning: the certificate of {host} is revoked; run rocks sync host certificate NODE... for the other "
                "nodes, which accept its transfers until then"
            )
