"""`rocks reinstall cluster`"""

import rocks.commands
from rocks.commands._shared.interrupt import LOOK_AT_LEASES
from rocks.commands._shared.vm_reinstall import reinstall
from rocks.core.errors import StateError
from rocks.inventory.cluster_records import own_clusters_of

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    Give the machines of virtual clusters fresh system disks, as reinstall host vm does: the next start makes them again
    from the images of the machines. For a classroom, between two courses. What is on the disks is lost; data disks,
    names, addresses and the keys of the clusters stay.

    <shared names='frontends'/>
    <param type='bool' name='with-frontend' default='yes'>
    no: the frontends keep their disks.
    </param>
    <shared names='force-off,write-back-timeout,dry-run'/>

    <example cmd='reinstall cluster class-1 class-2'>
    All machines of two clusters.
    </example>
    <example cmd='reinstall cluster class-1 with-frontend=no force=yes'>
    The computes of one, which may be running.
    </example>
    <related>reinstall host vm</related>
    <related>clone cluster</related>
    <related>start cluster</related>
    """

    AdviceAfterInterrupt = f"the same command goes on; {LOOK_AT_LEASES}"

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Remove the disks and report each machine."""
        if not args:
            self.abort("must supply at least one frontend name")
        clusters = own_clusters_of(self.db, self.getHostnames(args), self.notify)
        with_frontend = self.fillFlag("with-frontend", True)
        names = [
            name for c in clusters for name in ((c.frontend,) if with_frontend else ()) + tuple(c.clients)
        ]
        if not names:
            raise StateError(f"the cluster {clusters[0].frontend} has no computes")
        reinstall(self, names)
