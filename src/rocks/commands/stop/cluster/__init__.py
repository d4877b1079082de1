"""`rocks stop cluster`"""

import rocks.commands
from rocks.commands._framework.progress import HostProgress
from rocks.commands._shared.interrupt import LOOK_AT_LEASES
from rocks.inventory.cluster_records import own_clusters_of
from rocks.machine.stop import machines_to_stop, read_action, stop_machines

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    Stop the machines of virtual clusters.

    <shared names='frontends'/>
    <param type='bool' name='computes' default='yes'>
    no: stop only the frontends.
    </param>
    <param type='string' name='action' default='poweroff' values='poweroff,shutdown,reset,reboot'>
    poweroff, shutdown, reset or reboot, as for rocks stop host vm.
    </param>
    <shared names='stop-timeout'/>
    <shared names='dry-run'/>

    <example cmd='stop cluster vc1 action=shutdown'>
    Shut down vc1 and its compute nodes.
    </example>
    <example cmd='stop cluster vc1 action=shutdown timeout=120'>
    Wait for at most 120 seconds for each machine.
    </example>
    <related>start cluster</related>
    <related>stop host vm</related>
    """

    AdviceAfterInterrupt = LOOK_AT_LEASES

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Stop the machines and report failures."""
        if not args:
            self.abort("must supply at least one frontend name")
        clusters = own_clusters_of(self.db, self.getHostnames(args), self.notify)
        has_computes = self.fillFlag("computes", True)
        names = [name for c in clusters for name in (*(c.clients if has_computes else ()), c.frontend)]
        action = read_action(self.fillText("action", "poweroff"))
        machines, seconds = machines_to_stop(self.db, names), self.fillNumber("timeout")
        outcomes = stop_machines(self.db, machines, action, seconds, progress=HostProgress(self))
        for line in outcomes.joined_lines:
            self.notify(line)
        self.endOutcomes(outcomes.failed, outcomes.tried)
