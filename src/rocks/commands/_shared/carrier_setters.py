"""The family of commands by which an interface of a physical host may serve machines no more.

Apart from the other setters, which do not need what is imported here.
"""

from __future__ import annotations

from rocks.cluster.interfaces import changed_carrier_lines, read_carriers
from rocks.commands._shared.setters import InterfaceSetter
from rocks.network.interfaces import find_rows


class CarrierSetter(InterfaceSetter):
    """Base of those by which an interface of a physical host may serve its virtual machines no more."""

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Store the value, and name those machines."""
        hosts, (iface, _) = self.requireArguments("iface", self.argument)
        names = self.getSomeHostnames(hosts)
        carriers = read_carriers(self.db, names)
        super().run(params, args)
        ids = [row.id for row in find_rows(self.db, names, iface)]
        for line in changed_carrier_lines(self.db, ids, self.argument, carriers):
            self.notify(line)
