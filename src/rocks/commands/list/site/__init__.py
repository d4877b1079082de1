"""`rocks list site`"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import rocks.commands
from rocks.core.errors import UserError
from rocks.core.names import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.site.overview_rules import HostLine, SiteOverview

HOSTS = ("host", "state", "cpus", "load", "memory", "vm-memory", "vm-cpus", "running", "placed")
CLUSTERS = ("cluster", "vlans", "machines", "running", "unknown", "hosts")
IMAGES = ("image", "nas", "state", "host", "note")
CONCERNS = ("subject", "problem")


class Command(rocks.commands.Command):
    """
    List the site on one screen: hosts with their capacity and load, virtual clusters, images on their way, and what
    needs an operator. All hosts and NASes are asked at once; one that does not answer in 5 s is silent. A host that
    answers with an error, or that the frontend cannot ask, has the state error, and the problems say why.

    LOAD is the average of the last minute; VM-MEMORY and VM-CPUS are those of the virtual machines that are active.
    Memory is in MB. PLACED counts the virtual machines whose container the host is. Of a cluster, UNKNOWN counts the
    machines on such hosts. An image on its way is copied, written back, moved, or waits. A list that is longer than
    lines has what needs attention first: these hosts, then those with the highest load.

    <param optional='1' type='bool' name='watch' default='no'>
    yes: refresh the screen until Ctrl-C.
    </param>
    <param optional='1' type='int' name='interval' default='5' range='1..3600' unit='seconds'>
    Time between two refreshes.
    </param>
    <param optional='1' type='int' name='lines' default='20' range='1..10000' unit='lines'>
    The longest list of hosts, clusters, images and problems.
    </param>

    <example cmd='list site'>
    The site now.
    </example>
    <example cmd='list site json=yes'>
    All hosts, clusters, images and problems as JSON.
    </example>

    <related>check site</related>
    <related>list host vm</related>
    <related>list audit</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the overview, once or until Ctrl-C."""
        from rocks.site.overview import read_overview  # hosts are reached by heavy libraries

        lines = self.fillNumber("lines")
        if not self.fillFlag("watch"):
            self._add(read_overview(self.db), lines)
            return
        if self.fillFlag("json"):
            raise UserError("watch=yes prints for a person: use it without json=yes")
        from rocks.commands._framework.watching import watch

        watch(lambda: self._page(read_overview(self.db), lines), self.fillNumber("interval"), self.db.close)

    def _page(self, site: SiteOverview, lines: int) -> list[str]:
        self._add(site, lines)
        return self.takeOutput()

    def _add(self, site: SiteOverview, lines: int) -> None:
        if self.fillFlag("json"):
            self.addText(json.dumps(_as_json(site), indent=4) + "\n")
            return
        up = sum(line.state == "up" for line in site.hosts)
        hosts, clusters = counted(len(site.hosts), "host"), counted(len(site.clusters), "cluster")
        self.addLine(f"{site.time} UTC: {up} of {hosts} {'is' if up == 1 else 'are'} up, {clusters}")
        ordered = sorted(site.hosts, key=_urgency) if len(site.hosts) > lines else site.hosts
        self._table("hosts", HOSTS, ordered, lines)
        rows = [line._replace(vlans=",".join(map(str, line.vlans))) for line in site.clusters]  # type: ignore[arg-type]
        self._table("clusters", CLUSTERS, rows, lines)
        self._table("images on their way", IMAGES, site.images, lines)
        self._table("needs an operator", CONCERNS, site.concerns, lines)
        if not site.concerns:
            self.addLine("nothing needs an operator")

    def _table(self, title: str, header: Sequence[str], rows: Sequence[Sequence[object]], lines: int) -> None:
        if not rows:
            return
        self.addText(f"\n{title}\n")
        self.addTable(header, rows[:lines], trimOwner=False)
        if len(rows) > lines:
            self.addLine(f"and {len(rows) - lines} more: lines={len(rows)}")


def _urgency(line: HostLine) -> tuple[int, float]:
    """Hosts without facts first, then the highest load for each processor."""
    if line.cpus is None:
        return 0, 0.0
    return 1, -(line.load or 0.0) / max(1, line.cpus)


def _as_json(site: SiteOverview) -> dict[str, object]:
    def rows(header: Sequence[str], lines: Sequence[Sequence[object]]) -> list[dict[str, object]]:
        return [dict(zip(header, line, strict=True)) for line in lines]

    return {
        "time": site.time,
        "hosts": rows(HOSTS, site.hosts),
        "clusters": rows(CLUSTERS, site.clusters),
        "images": rows(IMAGES, site.images),
        "problems": rows(CONCERNS, site.concerns),
    }
