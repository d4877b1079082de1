"""Starts and stops virtual machines."""

from collections.abc import Mapping, Sequence

import rocks.commands
from rocks.commands._framework.run_command import may_run
from rocks.core.errors import RocksError, UserError

RollName = "kvm"


class Plugin(rocks.commands.Plugin):
    """Hook of `set host power` for virtual machines."""

    def provides(self) -> str:
        """The name in Rocks."""
        return "virtual-host"

    def requires(self) -> list[str]:
        """After the physical hosts, on which the machines may be."""
        return ["physical-host"]

    def check_all(self, hosts: Sequence[str], action: str, key: str | None) -> None:
        """Raise an error when this user must not start and stop machines."""
        from rocks.inventory.loaded_host_records import which_are_vms

        self._machines = which_are_vms(self.db, hosts)
        if self._machines and not may_run(rocks.commands.Command):
            raise UserError("starting and stopping virtual machines here requires root: run it as root")

    def run_all(self, hosts: Sequence[str], action: str, key: str | None) -> Mapping[str, RocksError]:
        """Start or stop the machines; machine → error."""
        from rocks.commands._shared.vm_start import start_outcomes
        from rocks.inventory.power_commands import INSTALL, OFF
        from rocks.machine.spec import AlreadyRunningError
        from rocks.machine.stop import machines_to_stop, stop_machines

        if not self._machines:
            return {}
        if action == OFF:
            outcomes = stop_machines(self.db, machines_to_stop(self.db, self._machines))
        else:
            if action == INSTALL:
                self.owner.command("set host boot", [*self._machines, f"action={INSTALL}"])
                self.db.commit()
            beside_jobs = bool(getattr(self.owner, "force", False))
            outcomes = start_outcomes(self.owner, self._machines, beside_jobs=beside_jobs)
        for line in outcomes.lines:
            self.owner.notify(line)
        return {
            name: error
            for name, error in outcomes.failed.items()
            if not (isinstance(error, AlreadyRunningError) and action != INSTALL)
        }
