"""`rocks evacuate host`"""

import rocks.commands
from rocks.commands._shared.interrupt import LOOK_AT_LEASES
from rocks.commands._shared.vm_start import start_outcomes
from rocks.core.callers import check_full_rights
from rocks.machine.drain import evacuate_host, other_containers
from rocks.machine.stop import Force

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    Start elsewhere the virtual machines of a physical host that does not answer any more.

    As with stop host vm force=yes, the machines are taken from the host only after its fence command (attribute
    vm_fence_command) has succeeded; without a fence command, you confirm with reason that the host is off. Machines
    whose disks are all on a NAS are started on the hosts that have the most memory left. The others can start on their
    own host only: the command prints why, and they keep their leases. Machines that are off stay as they are, and are
    named. A host that answers is not evacuated.

    <shared names='the-physical-host'/>
    <param type='string' name='reason' optional='0'>
    Justification; it is stored in the database.
    </param>
    <param type='string' name='to' of='physicalhost' default='all other VM containers'>
    Hosts that get the machines: names or other selectors, separated by blanks.
    </param>
    <param type='bool' name='host-off' default='no'>
    yes: you have verified that the host is off; its fence command is not run. Only who may become root can state it.
    </param>
    <shared names='dry-run'/>

    <example cmd='evacuate host vm-container-0-0 reason="power supply burnt, host unplugged"'>
    Start what can start elsewhere.
    </example>
    <example cmd='evacuate host vm-container-0-0 reason="kernel hangs" to=vm-container-0-1'>
    Start it on one other host.
    </example>
    <related>drain host</related>
    <related>stop host vm</related>
    <related>list host vm lease</related>
    """

    AdviceAfterInterrupt = f"the same command goes on; {LOOK_AT_LEASES}"

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Evacuate the host and report each machine."""
        host_is_off = self.fillFlag("host-off")
        if host_is_off:
            check_full_rights("host-off=yes")
        host = self.getOneContainer(args)
        reason = self.fillText("reason", "")
        if not reason.strip():
            self.abort('must supply reason="…": state why the host is off, or must be switched off')
        to = self.fillText("to", "").split()
        targets = self.getContainers(to) if to else other_containers(self.db, host)
        force = Force(reason, host_is_off)
        outcomes = evacuate_host(self.db, host, targets, force, lambda names: start_outcomes(self, names))
        if not outcomes.tried:
            self.addLine(f"no machine has its lease on {host}")
        for line in outcomes.lines:
            self.addLine(line)
        self.endOutcomes(outcomes.failed, outcomes.tried)
