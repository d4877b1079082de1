"""`rocks stop host vm`"""

from __future__ import annotations

from typing import TYPE_CHECKING

import rocks.commands
from rocks.commands._framework.plugins import load_plugins_of
from rocks.commands._framework.progress import HostProgress
from rocks.commands._shared.interrupt import LOOK_AT_LEASES
from rocks.commands._shared.vm_hooks import PluginHook
from rocks.commands._shared.vm_states import states_afterwards
from rocks.core.callers import check_full_rights
from rocks.core.names import printable
from rocks.leases.lease import held_by_removed
from rocks.machine.outcomes import load_changed
from rocks.machine.record import load_vms
from rocks.machine.stop import Force, machines_to_stop, read_action, stop_machines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.core.errors import RocksError

RollName = "kvm"

_PATH = ("stop", "host", "vm")


class Command(rocks.commands.Command):
    """
    Stop virtual machines, or restart them in place. A machine that is already off is not an error. With json=yes the
    command prints the machines afterwards, as list host vm status=yes does; those that failed have the family and the
    code of their error.

    <arg type='string' name='host' repeat='1'>
    Virtual machines; also the name of a removed one that still holds a lease (rocks list host vm lease).
    </arg>
    <param type='string' name='action' default='poweroff' values='poweroff,shutdown,reset,reboot'>
    poweroff: power off; shutdown: request the guest to shut down, and power off after the timeout; reset: press
    the reset button; reboot: request the guest to restart.
    </param>
    <shared names='stop-timeout'/>
    <param type='bool' name='terminate' default='no'>
    yes: stop nothing, but release the resources of machines that have ended by themselves: their images are
    written back to the NAS. The command waits for that for a day, or for the seconds of timeout where it is given.
    </param>
    <param type='bool' name='force' default='no'>
    yes: release the machines of a host that does not respond, after its fence command (attribute
    vm_fence_command) has succeeded; without a fence command, you confirm with reason that the host is off. If the
    new host of an interrupted live migration does not respond, the migration is given up in the same way, and the
    machine is stopped on its old host. A machine that is paused on a new host until its images on a NAS follow it
    is stopped there.
    </param>
    <param type='string' name='reason' default='none'>
    Justification of force; it is stored in the database.
    </param>
    <param type='bool' name='host-off' default='no'>
    yes: you have verified that the host is off; its fence command is not run. Only who may become root can state it.
    </param>
    <param type='string' name='saved' default='keep' values='keep,remove'>
    remove: a saved machine (rocks save host vm) is stopped too; what its guest had in memory is lost. Without it, such
    a machine is an error. It needs the rights of root, as host-off does.
    </param>
    <shared names='dry-run'/>

    <example cmd='stop host vm vm-vc1-0'>
    Power off one machine.
    </example>
    <example cmd='stop host vm vm-vc1-0 action=shutdown timeout=120'>
    Allow the guest two minutes to shut down.
    </example>
    <example cmd='stop host vm vm-vc1-0 force=yes reason="power supply burnt, host unplugged"'>
    Release the machine of a failed host, so that it can start on another host.
    </example>
    <example cmd='stop host vm vm-vc1-0 saved=remove'>
    Discard what a saved machine had in memory; its next start is a boot.
    </example>
    <related>start host vm</related>
    <related>save host vm</related>
    <related>list host vm lease</related>
    """

    AdviceAfterInterrupt = LOOK_AT_LEASES

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Stop the machines and report failures."""
        reason = self.fillText("reason", "")
        force = self.fillFlag("force")
        host_is_off = self.fillFlag("host-off")
        if (force or host_is_off) and not (force and reason.strip()):
            self.abort(
                'force=yes and reason="…" must be given together; state as the reason why the host is off'
            )
        if host_is_off:
            check_full_rights("host-off=yes")
        action = read_action(self.fillText("action", "poweroff"))
        saved = self.fillText("saved", "keep")
        if saved not in ("keep", "remove"):
            self.abort(f'saved must be keep or remove, not "{printable(saved)}"')
        if saved == "remove":
            check_full_rights("saved=remove")
        removed = held_by_removed(self.db, args)
        known_as = {name.lower() for name in removed}
        selectors = [arg for arg in args if arg.lower() not in known_as]
        names = self.getSomeHostnames(selectors) if selectors or not removed else []
        if self.fillFlag("terminate"):
            _release_ended(self, names)
            return
        with states_afterwards(self, names):
            outcomes = stop_machines(
                self.db,
                machines_to_stop(self.db, names, removed),
                action,
                self.fillNumber("timeout"),
                Force(reason, host_is_off) if force else None,
                progress=HostProgress(self),
                discards_saves=saved == "remove",
                report=self.notify,
            )
            for line in outcomes.joined_lines:
                self.notify(line)
            self.endOutcomes(outcomes.failed, outcomes.tried)


def _release_ended(command: Command, names: Sequence[str]) -> None:
    """Run the hooks for machines that have ended. One whose hook fails is left out of the rest, and reported."""
    machines = load_vms(command.db, names)
    failed: dict[str, RocksError] = {}
    for plugin in load_plugins_of(command, _PATH):
        result = PluginHook(plugin, _PATH).run_all(machines)
        failed.update(result.failed)
        machines = load_changed(command.db, [vm for vm in machines if vm.name not in failed], result)
    command.endOutcomes(failed, len(machines) + len(failed))
