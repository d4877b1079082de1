"""`rocks clone cluster`"""

from collections.abc import Sequence

import rocks.commands
from rocks.cluster.add import keys_command
from rocks.cluster.clone import Clone, CloneParameters, clone_clusters

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    Add copies of a virtual cluster: each with its own names, addresses, VLAN, keys and disks.

    The command starts no machine and contacts no host. It adds all clones or none; those that exist already stay as
    they are. The clones are named NAME-1, NAME-2 and so on, their computes vm-NAME-1-0 and so on. Their disks are made
    from images at their first start: those of the original, or others. The attributes of the original's machines are
    copied, except secrets. A machine of another cluster on its VLAN is not copied, and a line names it.

    If the disks of the original are on NASes, and image is not given, each machine gets a clone of the disk that the
    same machine of the original has now, on the same NAS; it takes no space until it is written to. The machines of
    the original must be off, and their changes written back.

    <arg type='string' name='frontend' of='virtualfrontend'>
    Frontend of the cluster to copy.
    </arg>
    <arg type='string' name='ip' repeat='1'>
    Addresses of the new frontends on the network public; with count, the address from which free ones are
    searched upwards.
    </arg>
    <param type='int' name='count' default='one for each address' range='1..1000' unit='clusters'>
    Number of clones.
    </param>
    <param type='string' name='name' default='that of the frontend'>
    Beginning of the names.
    </param>
    <param type='string' name='image' default='that of the frontend' of='image'>
    Image for the frontends, and for the computes unless compute-image is given; such as one that was made of the
    disk of the original (rocks add image NAME vm=FRONTEND).
    </param>
    <param type='string' name='compute-image' default='that of the computes' of='image'>
    Image for the computes; none: empty disks.
    </param>
    <param type='string' name='container-hosts' default='the hosts of the original' of='physicalhost'>
    Physical hosts for the machines of the clones, separated by blanks and used in turn.
    </param>
    <param type='string' name='key' default='the keys of the original' of='file'>
    File of the frontend with public SSH keys, one a line, that may log in as root.
    </param>
    <shared names='dry-run'/>

    <example cmd='clone cluster vc1 203.0.113.20 203.0.113.21'>
    Add vc1-1 and vc1-2, with these addresses.
    </example>
    <example cmd='clone cluster vc1 203.0.113.20 count=40 name=class image=class'>
    Add class-1 to class-40, with the content of the image class.
    </example>
    <related>add cluster</related>
    <related>add image</related>
    <related>start cluster</related>
    <related>remove cluster</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Add the clones and print them."""
        if len(args) < 2:
            self.abort(
                "must supply the frontend of a cluster, and an IP address for the frontends of the clones"
            )
        hosts = self.fillText("container-hosts")
        clones = clone_clusters(
            self.db,
            CloneParameters(
                source=self.getOneHostname(args[:1]),
                addresses=args[1:],
                count=self.fillGivenNumber("count"),
                name=self.fillText("name"),
                image=self.fillText("image"),
                compute_image=self.fillText("compute-image"),
                key_file=self.fillText("key"),
                containers=self.getContainers(hosts.split()) if hosts and hosts.split() else (),
            ),
            self.notify,
            self.showProgress,
        )
        self.showProgress("")
        header = ("frontend", "ip", "vlan", "computes", "state")
        self.addTable(header, map(self._row, clones), trimOwner=False)
        warnings = [f"{w}" for clone in clones if clone.cluster is not None for w in clone.cluster.warnings]
        for warning in dict.fromkeys(warnings):
            self.notify(f"Warning: {warning}")
        self._report_keys(clones, self.fillText("key"))

    def _report_keys(self, clones: Sequence[Clone], key_file: str | None) -> None:
        lacking = [clone.frontend for clone in clones if clone.lacks_keys]
        if lacking:
            reason = "the clusters that exist did not get the key, so " if key_file else ""
            self.notify(f"Warning: {reason}nobody can log in: {keys_command(lacking, key_file)}")

    def _row(self, clone: Clone) -> tuple[object, ...]:
        if clone.cluster is None:
            return clone.frontend, clone.ip, None, None, "exists"
        return clone.frontend, clone.ip, clone.cluster.vlan, len(clone.cluster.computes), "added"
