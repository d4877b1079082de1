"""`rocks remove cluster`"""

import rocks.commands
from rocks.commands._shared.interrupt import LOOK_AT_LEASES
from rocks.commands._shared.vm_removal import reads_disks_parameter, remove_with_hooks
from rocks.inventory.cluster_records import own_clusters_of
from rocks.network.cluster_vlans import drop_unused_vlans
from rocks.network.infiniband.machine_partitions import leave_partitions

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    Remove virtual clusters: stop their machines and remove their hosts and VLANs from the database.

    The key of an InfiniBand partition becomes free when all machines have stopped. Disk images stay
    unless disks=remove; the command prints their paths. No network of a host is restarted. A machine of
    another cluster that is on the VLAN of this one, too, stays, and a line names it.

    <shared names='frontends'/>

    <shared names='disks,dry-run'/>

    <example cmd='remove cluster vc1'>
    Remove vc1 and its compute nodes.
    </example>
    <example cmd='remove cluster vc1 disks=remove'>
    With the disks of its machines, whose content is lost.
    </example>
    <related>add cluster</related>
    """

    AdviceAfterInterrupt = LOOK_AT_LEASES

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Remove the clusters."""
        if not args:
            self.abort("must supply at least one frontend name")
        with_disks = reads_disks_parameter(self)
        clusters = own_clusters_of(self.db, self.getHostnames(args), self.notify)
        names = [name for cluster in clusters for name in cluster.names]
        remove_with_hooks(self, names, with_disks)
        self.command("remove.host", names)
        drop_unused_vlans(self.db, sorted({vlan for cluster in clusters for vlan in cluster.vlans}))
        for warning in leave_partitions(self.db):
            self.notify(warning)
