"""`rocks pragma list cluster`"""

import rocks.commands

from ..._shared.site import rows

RollName = "pragma"


class Command(rocks.commands.Command):
    """
    List virtual clusters with their computes, states and public addresses.

    <arg optional='1' type='string' name='cluster' repeat='1' default='all' of='host'>
    Frontends.
    </arg>

    <example cmd='pragma list cluster'>
    All virtual clusters.
    </example>
    <example cmd='pragma list cluster dock6'>
    One, for a program that waits until all lines have active.
    </example>
    <related>pragma boot</related>
    <related>list cluster</related>
    """

    IsAudited = False

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print a row for each machine; the public address is that of the frontend."""
        found = rows(self, "list.cluster", [*args, "status=yes"])
        # a physical frontend has the machines of no cluster
        virtual = {row["owner"] for row in found if row["type"] == "VM" and not row["client nodes"]}
        listed = [row for row in found if row["owner"] in virtual]
        addresses = (
            {
                str(row["owner"]): row["ip"]
                for row in rows(self, "list.host.interface", sorted({str(row["owner"]) for row in listed}))
                if row["subnet"] == "public"
            }
            if listed
            else {}
        )
        in_json = self.fillFlag("json")
        self.beginOutput()
        for row in listed:
            frontend, client = str(row["owner"]), row["client nodes"]
            owner = frontend if in_json or not client else ""
            self.addOutput(owner, (client, row["status"], None if client else addresses.get(frontend)))
        self.endOutput(header=("frontend", "compute nodes", "status", "public ip"), trimOwner=False)
