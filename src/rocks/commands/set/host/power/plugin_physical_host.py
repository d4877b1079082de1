"""Switches physical hosts."""

from collections.abc import Mapping, Sequence

import rocks.commands
from rocks.core.errors import RocksError


class Plugin(rocks.commands.Plugin):
    """Hook of `set host power` for hosts with a BMC, or a program of the site."""

    def provides(self) -> str:
        """The name in Rocks."""
        return "physical-host"

    def check_all(self, hosts: Sequence[str], action: str, key: str | None) -> None:
        """Raise an error when one of the physical hosts cannot or must not be switched."""
        from rocks.inventory.loaded_host_records import which_are_vms
        from rocks.site.host_power import check_may_switch

        machines = set(which_are_vms(self.db, hosts))
        physical = [host for host in hosts if host not in machines]
        force = bool(getattr(self.owner, "force", False))
        self._controls = check_may_switch(self.db, physical, action, force) if physical else []

    def run_all(self, hosts: Sequence[str], action: str, key: str | None) -> Mapping[str, RocksError]:
        """Switch the physical hosts; host → error. For an installation, their next boot is set before."""
        from rocks.core.errors import HostError
        from rocks.inventory.power_commands import INSTALL
        from rocks.site.host_power import switch_hosts

        if not self._controls:
            return {}
        if action == INSTALL:
            names = [control.host for control in self._controls]
            self.owner.command("set host boot", [*names, f"action={INSTALL}"])
        self.db.commit()
        failed = switch_hosts(self._controls, action)
        if action != INSTALL:
            return failed
        return {
            host: HostError(
                f"{error}; its next boot installs it: repeat this, or rocks set host boot {host} action=os"
            )
            for host, error in failed.items()
        }
