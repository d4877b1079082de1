"""`rocks add cluster`"""

import rocks.commands
from rocks.cluster.add import ClusterParameters, NewCluster, add_cluster, keys_command
from rocks.network.infiniband.pkeys import pkey_text

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    Add a virtual cluster: a frontend and compute nodes on their own VLAN.

    The command starts no machine and contacts no host. It adds the whole cluster or nothing.

    <arg type='string' name='ip'>
    Address of the frontend on the network public.
    </arg>
    <arg type='int' name='num-computes' unit='machines'>
    Number of compute nodes; 0 adds only a frontend.
    </arg>
    <param type='int' name='cpus-per-compute' default='1' range='1..255' unit='CPUs'>
    CPUs of each compute node.
    </param>
    <param type='int' name='mem-per-compute' default='1024' range='32..67108864' unit='MB'>
    Memory of each compute node.
    </param>
    <param type='int' name='disk-per-compute' default='36' range='1..1000000' unit='GB'>
    Disk of each compute node.
    </param>
    <param type='int' name='disk-per-frontend' default='36' range='1..1000000' unit='GB'>
    Disk of the frontend.
    </param>
    <param type='string' name='container-hosts' default='the hosts that run virtual machines, without those that
          lack free CPUs for a compute node; the physical frontend if it is the only one' of='physicalhost'>
    Physical hosts for the compute nodes, separated by blanks and used in turn.
    </param>
    <param type='string' name='fe-container' default='the physical frontend if it runs virtual machines, else as
          container-hosts' of='physicalhost'>
    Physical host for the frontend. The attribute kvm of all hosts must be true, as that of VM containers.
    </param>
    <param type='string' name='fe-name' default='frontend-RACK-RANK-SLICE'>
    Name of the frontend.
    </param>
    <param type='bool' name='cluster-naming' default='the same as whether fe-name is given'>
    yes: name the compute nodes vm-FRONTEND-0, vm-FRONTEND-1 and so on; requires fe-name. no: name them after their
    hosts, as vm-container-0-0-1.
    </param>
    <param type='int' name='vlan' default='the lowest free id of the pool vm_vlan_pool' unit='none'>
    VLAN id of the cluster.
    </param>
    <param type='string' name='subnet' default='private'>
    Network whose physical devices carry the VLAN.
    </param>
    <param type='string' name='gateway' default='the attribute Kickstart_PublicGateway'>
    Default gateway of the frontend.
    </param>
    <param type='string' name='pkey' default='the lowest free key of the pool ib_pkey_pool, or none if the site
          has no pool'>
    Partition key (P_Key) of the cluster's InfiniBand partition, or none.
    </param>
    <param type='string' name='image' default='none: the disks are empty' of='image'>
    Image of the library (rocks list image) from which the disks are made at the first start; volume:NAME is a volume of
    the NAS that has the disks (rocks set host vm nas). The machines then get their names, addresses and keys by
    cloud-init, and boot from their disks.
    </param>
    <param type='string' name='compute-image' default='that of the frontend' of='image'>
    Image for the compute nodes; none: empty disks.
    </param>
    <param type='string' name='key' default='the attribute vm_authorized_keys' of='file'>
    File of the frontend with public SSH keys, one a line, that may log in as root.
    </param>
    <shared command='add host vm' names='virt-type'/>
    <shared names='dry-run'/>

    <example cmd='add cluster 203.0.113.9 2'>
    Add a cluster with two compute nodes.
    </example>
    <example cmd='add cluster 203.0.113.9 2 fe-name=blue'>
    Name the frontend blue and the compute nodes vm-blue-0 and vm-blue-1.
    </example>
    <example cmd='add cluster 203.0.113.9 2 image=debian-12 key=/root/.ssh/id_ed25519.pub'>
    Add a cluster whose machines answer by SSH after start cluster.
    </example>
    <related>list cluster</related>
    <related>add image</related>
    <related>start cluster</related>
    <related>remove cluster</related>
    """

    AdviceAfterInterrupt = "rocks list cluster shows whether the cluster was added"
    DoneByCommit = "the cluster was added"

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Add the cluster and print the names of its machines."""
        _, (ip, computes) = self.splitArguments(("ip", "num-computes"))
        if ip == "" or (not ip and (not computes or params.get("num-computes"))):
            self.abort("must supply an IP address for the frontend")
        if not ip or not computes:
            self.abort("must supply the number of compute nodes")
        self._report(add_cluster(self.db, self._read_parameters(ip, computes)))

    def _read_parameters(self, ip: str, computes: str) -> ClusterParameters:
        containers = self.fillText("container-hosts", "").split()
        frontend_container, frontend_name = self.fillTexts("fe-container", "fe-name")
        return ClusterParameters(
            ip=ip,
            computes=computes,
            frontend_container=self.getOneContainer([frontend_container]) if frontend_container else None,
            compute_containers=self.getContainers(containers) if containers else None,
            cpus=self.fillNumber("cpus-per-compute"),
            memory_mb=self.fillNumber("mem-per-compute"),
            compute_disk_gb=self.fillNumber("disk-per-compute"),
            frontend_disk_gb=self.fillNumber("disk-per-frontend"),
            frontend_name=frontend_name,
            cluster_naming=self.fillFlag("cluster-naming", default=bool(frontend_name)),
            vlan=self.fillText("vlan"),
            network=self.fillText("subnet", "private"),
            gateway=self.fillText("gateway"),
            virt_type=self.fillText("virt-type", "hvm"),
            pkey=self.fillText("pkey"),
            image=self.fillText("image"),
            compute_image=self.fillText("compute-image"),
            key_file=self.fillText("key"),
        )

    def _report(self, cluster: NewCluster) -> None:
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
        if cluster.lacks_keys:
            self.notify(f"Warning: nobody can log in: {keys_command([cluster.frontend.name])}")
