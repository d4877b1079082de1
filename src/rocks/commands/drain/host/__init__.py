"""`rocks drain host`"""

import rocks.commands
from rocks.commands._shared.interrupt import LOOK_AT_LEASES
from rocks.commands._shared.vm_filters import filters_of
from rocks.commands._shared.vm_start import start_outcomes
from rocks.core.errors import UserError
from rocks.core.names import printable
from rocks.machine.drain import Drain, DrainCallbacks, drain_host
from rocks.machine.move import MoveReporter

RollName = "kvm"

ACTIONS = ("shutdown", "poweroff")


class Command(rocks.commands.Command):
    """
    Empty a physical host, for example before it is repaired: stop its virtual machines, or move them to other hosts.

    Without to, the running machines are stopped. With to, each machine is stopped if it runs, moved as by move host vm
    to the host that has the most memory left, and started there if it ran. A machine that cannot be moved is not
    stopped if that is known before, and otherwise started where it was. One machine follows the other, and one that
    fails does not stop the others. The same command goes on with the other machines; it does not start a machine that a
    killed command has stopped. A machine that another command has moved from the host meanwhile is left alone.

    With live=yes, machines that run are moved as by move host vm live=yes, without stopping them. One that cannot move
    this way is stopped for its move, and a line says why. One whose move was begun and failed is not stopped, and goes
    on where it was. If one is paused on its new host, and its images on a NAS cannot follow it, no other machine is
    moved. What an interrupted move has left is completed or undone first.

    Machines can still be started on the host afterwards. Without Slurm, Nucleus gives the host to computesets until
    nucleus host remove.

    <shared names='the-physical-host'/>
    <param type='string' name='to' of='physicalhost' default='none: the machines are stopped only'>
    Hosts that get the machines: names or other selectors, separated by blanks.
    </param>
    <param type='string' name='action' default='shutdown' values='shutdown,poweroff'>
    shutdown: ask the guests to shut down, and power off after the timeout; poweroff: power off.
    </param>
    <shared names='stop-timeout'/>
    <param type='bool' name='live' default='no'>
    yes: move running machines without stopping them, where that is possible; give to, as well.
    </param>
    <shared names='dry-run'/>

    <example cmd='drain host vm-container-0-0'>
    Shut down all machines of the host.
    </example>
    <example cmd='drain host vm-container-0-0 to="vm-container-0-1 vm-container-0-2" timeout=120'>
    Move them to two other hosts.
    </example>
    <example cmd='drain host vm-container-0-0 to="vm-container-0-1" live=yes'>
    Move them while they run, and stop only those that cannot move this way.
    </example>
    <related>move host vm</related>
    <related>evacuate host</related>
    <related>stop host vm</related>
    """

    AdviceAfterInterrupt = f"the same command goes on; {LOOK_AT_LEASES}"

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Empty the host and report each machine."""
        host = self.getOneContainer(args)
        to = self.fillText("to", "").split()
        targets = self.getContainers(to) if to else []
        action = self.fillText("action", ACTIONS[0])
        if action not in ACTIONS:
            raise UserError(f'action "{printable(action)}" must be one of {", ".join(ACTIONS)}')
        seconds = self.fillNumber("timeout")
        live = self.fillFlag("live")
        if live and not targets:
            raise UserError('live=yes moves machines, so it needs the hosts that get them: to="HOST HOST"')
        drain = Drain(host, tuple(targets), "shutdown" if action == "shutdown" else "poweroff", seconds, live)
        callbacks = DrainCallbacks(
            MoveReporter(self.notify, self.showProgress),
            lambda names: start_outcomes(self, names),
            filters_of(self),
        )
        outcomes = drain_host(self.db, drain, callbacks)
        for line in outcomes.lines:
            self.addLine(line)
        if not outcomes.tried:
            self.addLine(f"{host} has no machines to {'move' if targets else 'stop'}")
        self.endOutcomes(outcomes.failed, outcomes.tried)
