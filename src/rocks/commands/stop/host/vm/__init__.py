"""`rocks stop host vm`"""

import rocks.commands
from rocks.actions.leases import Force
from rocks.actions.vm_power import DEFAULT_DEADLINE_SECONDS, read_action, stop_vms
from rocks.cluster.values import read_number
from rocks.commands._shared.vm_termination import terminate_with_hooks

LONGEST_DEADLINE_SECONDS = 3600

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    Stop virtual machines, or restart them in place. A machine that is off already is no error.

    <arg type='string' name='host' repeat='1'>
    Virtual machines.
    </arg>
    <param type='string' name='action'>
    poweroff (the default) takes the power away; shutdown asks the guest and takes the power away after the timeout;
    reset presses the reset button; reboot asks the guest to restart.
    </param>
    <param type='int' name='timeout'>
    Seconds that shutdown gives the guest, 60 by default.
    </param>
    <param type='bool' name='terminate'>
    yes: stop nothing, only free what was allocated for machines that have ended by themselves: images come home to
    their NAS, for which the command waits.
    </param>
    <param type='bool' name='force'>
    yes: take the machines from a host that does not answer, after its fence command (attribute vm_fence_command)
    succeeded; without such a command, reason is your word that the host is off.
    </param>
    <param type='string' name='reason'>
    Why force is right; kept in the database.
    </param>
    <param type='bool' name='host-off'>
    yes: you have seen that the host is off, so its fence command is not run.
    </param>

    <example cmd='stop host vm vm-vc1-0'>
    Take the power away.
    </example>
    <example cmd='stop host vm vm-vc1-0 action=shutdown timeout=120'>
    Give the guest two minutes.
    </example>
    <example cmd='stop host vm vm-vc1-0 force=yes reason="power supply burnt, host unplugged"'>
    The host is gone for sure; the machine may start elsewhere.
    </example>
    <related>start host vm</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Stop the machines and tell what failed."""
        action, timeout, reason = self.fillParams(
            [("action", "poweroff"), ("timeout", str(DEFAULT_DEADLINE_SECONDS)), ("reason", "")]
        )
        force = self.fillFlag("force")
        host_is_off = self.fillFlag("host-off")
        if (force or host_is_off) and not (force and reason.strip()):
            self.abort('force=yes and reason="…" go together: say why the host cannot be running the machine')
        seconds = read_number("timeout", timeout, 0, LONGEST_DEADLINE_SECONDS)
        chosen = read_action(action)
        names = self.getSomeHostnames(args)
        if self.fillFlag("terminate"):
            terminate_with_hooks(self, names)
            return
        outcomes = stop_vms(self.db, names, chosen, seconds, Force(reason, host_is_off) if force else None)
        for line in outcomes.lines:
            self.notify(line)
        self.endOutcomes(outcomes.failed, outcomes.tried)
