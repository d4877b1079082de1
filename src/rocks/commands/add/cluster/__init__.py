"""`rocks add cluster`"""

import rocks.commands
from rocks.actions.clusters import ClusterParameters, NewCluster, add_cluster
from rocks.cluster.pkeys import pkey_text
from rocks.database.nodes import hosts_of_membership

CONTAINER_MEMBERSHIP = "VM Container"

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    Add a virtual cluster: a frontend and its computes, on a VLAN of their own.

    Nothing is started and no host is asked. Either the whole cluster is added or nothing of it.

    <arg type='string' name='ip'>
    The frontend's address on the network public.
    </arg>
    <arg type='int' name='num-computes'>
    Number of computes; 0 is a frontend alone.
    </arg>
    <param type='int' name='cpus-per-compute'>
    CPUs of each compute, 1 by default.
    </param>
    <param type='int' name='mem-per-compute'>
    Memory of each compute in MB, 1024 by default.
    </param>
    <param type='int' name='disk-per-compute'>
    Disk of each compute in GB, 36 by default.
    </param>
    <param type='int' name='disk-per-frontend'>
    Disk of the frontend in GB, 36 by default.
    </param>
    <param type='string' name='container-hosts'>
    Physical hosts for the computes, by blanks, filled in turn. By default all hosts of membership VM Container, and
    where there is none the physical frontend.
    </param>
    <param type='string' name='fe-container'>
    Physical host for the frontend, by default the physical frontend.
    </param>
    <param type='string' name='fe-name'>
    Name of the frontend, by default frontend-RACK-RANK-SLICE.
    </param>
    <param type='bool' name='cluster-naming'>
    yes: the computes are called vm-FRONTEND-0, vm-FRONTEND-1 and so on; needs fe-name.
    </param>
    <param type='int' name='vlan'>
    VLAN id of the cluster, by default the lowest free one from 2 on.
    </param>
    <param type='string' name='subnet'>
    Network whose physical devices carry the VLAN, private by default.
    </param>
    <param type='string' name='gateway'>
    Default gateway of the frontend, by default the attribute Kickstart_PublicGateway.
    </param>
    <param type='string' name='pkey'>
    Key of the cluster's InfiniBand partition, or none. By default the lowest free one of the pool ib_pkey_pool, and
    none where the site has no pool.
    </param>
    <param type='string' name='virt-type'>
    hvm, the only kind that KVM has.
    </param>

    <example cmd='add cluster 203.0.113.9 2'>
    A cluster of two computes.
    </example>
    <example cmd='add cluster 203.0.113.9 2 fe-name=blue cluster-naming=yes'>
    The frontend is blue, the computes are vm-blue-0 and vm-blue-1.
    </example>
    <related>list cluster</related>
    <related>start cluster</related>
    <related>remove cluster</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Add the cluster and name its machines."""
        rest, ip, computes = self.fillPositionalArgs(("ip", "num-computes"))
        if rest:
            self.abort(f'too many arguments: "{rest[0]}"; give the address and the number of computes')
        if not ip and (not computes or params.get("num-computes")):
            self.abort("must supply an IP address for the frontend")
        if not ip or not computes:
            self.abort("must supply the number of compute nodes")
        self._show(add_cluster(self.db, self._words(ip, computes)))

    def _words(self, ip: str, computes: str) -> ClusterParameters:
        cpus, mem, disk, frontend_disk = self.fillParams(
            [
                ("cpus-per-compute", "1"),
                ("mem-per-compute", "1024"),
                ("disk-per-compute", "36"),
                ("disk-per-frontend", "36"),
            ]
        )
        name, vlan, network, gateway, kind, pkey = self.fillParams(
            [
                ("fe-name", None),
                ("vlan", None),
                ("subnet", "private"),
                ("gateway", None),
                ("virt-type", "hvm"),
                ("pkey", None),
            ]
        )
        frontend_host, compute_hosts = self._places()
        return ClusterParameters(
            ip=ip,
            computes=computes,
            frontend_container=frontend_host,
            compute_containers=compute_hosts,
            cpus=cpus,
            memory_mb=mem,
            compute_disk_gb=disk,
            frontend_disk_gb=frontend_disk,
            frontend_name=name,
            cluster_naming=self.fillFlag("cluster-naming"),
            vlan=vlan,
            network=network,
            gateway=gateway,
            virt_type=kind,
            pkey=pkey,
        )

    def _show(self, cluster: NewCluster) -> None:
        self.addText(f"Getting Free VLAN: {cluster.vlan} <-- Done.\n")
        if cluster.pkey is not None:
            self.addText(f"Getting Free Partition Key: {pkey_text(cluster.pkey)} <-- Done.\n")
        self.addText(f"Creating Virtual Frontend on Physical Host {cluster.frontend.container}\n")
        self.addText(f"\tcreated frontend VM named: {cluster.frontend.name}\n<-- Done.\n")
        self.addText(f"Creating {len(cluster.computes)} Virtual Cluster nodes\n")
        for vm in cluster.computes:
            self.addText(f"\tcreated compute VM named: {vm.name}\n")
        self.addText("<-- Done.\n")
        for warning in cluster.warnings:
            self.notify(f"Warning: {warning}")

    def _places(self) -> tuple[str, list[str]]:
        """The frontend's host and the computes' hosts; the physical frontend is looked for at most once."""
        places, frontend_place = self.fillParams([("container-hosts", None), ("fe-container", None)])
        if frontend_place:
            return self.getOneHostname([frontend_place]), self._containers(places) or [self._local_host()]
        frontend_host = self._local_host()
        return frontend_host, self._containers(places) or [frontend_host]

    def _local_host(self) -> str:
        return self.getOneHostname(["localhost"])

    def _containers(self, places: str | None) -> list[str]:
        """Hosts for the computes; none where the site has no container."""
        if not places or not places.split():
            return hosts_of_membership(self.db, CONTAINER_MEMBERSHIP)
        hosts = self.getHostnames(places.split())
        if not hosts:
            self.abort(f'container-hosts "{places}" means no host; name physical hosts for the computes')
        return hosts
