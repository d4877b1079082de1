"""`rocks list cluster`"""

import rocks.commands
from rocks.commands._shared.vm_states import VmPresence, presence_of, states_for_listing
from rocks.database.snapshots import one_moment
from rocks.inventory import cluster_records as clusters
from rocks.machine import listing_records

VIRTUAL, PHYSICAL = "VM", "physical"

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    List the physical and virtual frontends with their clients. JSON has the uuid of each virtual machine, too.

    <arg optional='1' type='string' name='frontend' repeat='1' default='all'>
    Frontends.
    </arg>
    <param type='bool' name='status' default='no'>
    yes (root): query the physical hosts for the states of the virtual machines, as rocks list host vm does.
    </param>

    <example cmd='list cluster'>
    All clusters.
    </example>
    <example cmd='list cluster vc1 status=yes'>
    One cluster, with the states of its machines.
    </example>
    <related>list host vm</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print a row for each frontend, followed by its clients."""
        with_status, in_json = self.fillFlag("status"), self.fillFlag("json")
        with one_moment(self.db):  # a UUID is that of the machine with this name and these clients
            frontends = self._frontends(args)
            found = clusters.members(self.db, [name for name, virtual in frontends if virtual])
            uuids = listing_records.uuids(self.db) if in_json else {}
        states = self._states([name for c in found.values() for name in c.names]) if with_status else {}
        self.beginOutput()

        def add(frontend: str, client: str, virtual: bool) -> None:
            state = states.get(client or frontend)
            texts = ("", "", "") if state is None else (state.status, state.state, state.text)
            status = () if not with_status else texts[:2] if in_json else texts[2:]
            identity = (uuids.get(client or frontend),) if in_json else ()
            # a table has the frontend in the first row of its cluster only
            owner = frontend if in_json or not client else ""
            self.addOutput(owner, (client, VIRTUAL if virtual else PHYSICAL, *status, *identity))

        for name, virtual in frontends:
            add(name, "", virtual)
            if virtual:
                for client in found[name].clients if name in found else ():
                    add(name, client, True)
            else:
                for client, client_is_virtual in clusters.hosts_of_appliance(self.db, "compute"):
                    add(name, client, client_is_virtual)
        more = ["status", "state"][: (1 + in_json) * with_status] + ["uuid"] * in_json
        self.endOutput(header=["frontend", "client nodes", "type", *more], trimOwner=False)

    def _frontends(self, args: list[str]) -> list[tuple[str, bool]]:
        known = clusters.hosts_of_appliance(self.db, "frontend")
        if not args:
            return known
        kinds = {name.lower(): (name, virtual) for name, virtual in known}
        names = self.getHostnames(args)
        for name in names:
            if name.lower() not in kinds:
                self.abort(
                    f"host {name} is not a virtual frontend; rocks list cluster lists the virtual frontends"
                )
        return [kinds[name.lower()] for name in names]

    def _states(self, names: list[str]) -> dict[str, VmPresence]:
        containers = {row.name: row.container for row in listing_records.vm_rows(self.db, names)}
        return {name: presence_of(state) for name, state in states_for_listing(self, containers).items()}
