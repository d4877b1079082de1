"""`rocks start cluster`"""

import rocks.commands
from rocks.commands._shared.interrupt import LOOK_AT_LEASES
from rocks.commands._shared.vm_start import start_with_hooks
from rocks.inventory.cluster_records import own_clusters_of
from rocks.machine.spec import AlreadyRunningError

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    Start the machines of virtual clusters, the frontends first; running machines are not affected. When a frontend
    cannot be started, its computes are not started either.

    <shared names='frontends'/>
    <param type='bool' name='computes' default='yes'>
    no: start only the frontends.
    </param>
    <shared names='beside-jobs,dry-run'/>

    <example cmd='start cluster vc1'>
    Start vc1 and all its compute nodes.
    </example>
    <example cmd='start cluster vc1 computes=no'>
    Its frontend only.
    </example>
    <related>stop cluster</related>
    <related>start host vm</related>
    """

    AdviceAfterInterrupt = LOOK_AT_LEASES

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Start the machines and report failures."""
        if not args:
            self.abort("must supply at least one frontend name")
        clusters = own_clusters_of(self.db, self.getHostnames(args), self.notify)
        has_computes = self.fillFlag("computes", True)
        names = [name for c in clusters for name in (c.frontend, *(c.clients if has_computes else ()))]
        frontend_of = {name: c.frontend for c in clusters for name in c.clients if has_computes}
        start_with_hooks(self, names, harmless=(AlreadyRunningError,), frontend_of=frontend_of)
