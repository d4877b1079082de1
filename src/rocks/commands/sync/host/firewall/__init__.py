"""`rocks sync host firewall`"""

from __future__ import annotations

from typing import TYPE_CHECKING

import rocks.commands
from rocks.core.errors import RocksError
from rocks.inventory.host_records import find_local_host
from rocks.network.firewall.changes import sync_firewalls

if TYPE_CHECKING:
    from collections.abc import Mapping


class Command(rocks.commands.Command):
    """
    Bring the firewall rules that rocks report host firewall prints to hosts, for now and for each boot. A host whose
    attribute firewall is not true has none of these rules afterwards. Other tables, such as those of libvirt, stay.

    A host replaces its rules at once, and open connections stay. Then it is reached again by a new connection; if that
    fails, it loads its earlier rules by itself, 30 seconds later. Rules of this machine itself are not tried.

    <arg type='string' name='host' repeat='1'>
    Physical hosts, by name or any other selector.
    </arg>
    <shared names='dry-run'/>

    <example cmd='sync host firewall compute-0-0'>
    One host, after rocks set host attr compute-0-0 firewall true, or after its rules were changed.
    </example>
    <example cmd='sync host firewall compute'>
    All computes.
    </example>

    <related>report host firewall</related>
    <related>add firewall</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Bring the rules, and report each host as it answers."""
        hosts = self.getSomeHostnames(args)
        own = find_local_host(self.db)
        failures: dict[str, RocksError] = {}
        for firewall, result in sync_firewalls(self.db, hosts):
            if isinstance(result, RocksError):
                failures[firewall.host] = result
                continue
            closed = _closed(firewall.closed) if firewall.is_on else ""
            if closed and firewall.host == own:
                closed += "; no other host has tried them: log in once more before you end this session"
            self.showLine(f"{firewall.host}: {_RESULTS[result]}{closed}")
        self.endOutcomes(failures, len(hosts))


def _closed(networks: Mapping[str, str]) -> str:
    """What is accepted from the closed networks of a host; each with the rule that refuses all before any accepts."""
    texts = []
    for name in sorted(set(networks.values())):
        those = ", ".join(network for network, refusing in networks.items() if refusing == name)
        what = (
            f"nothing but what always passes, since the rule {name} refuses all else before any rule accepts it"
            if name
            else "only what its rules accept"
        )
        texts.append(f"; it accepts from {those} {what}")
    return "".join(texts)


_RESULTS = {
    "loaded": "rules loaded",
    "unchanged": "the same rules loaded again",
    "removed": "rules removed: its attribute firewall is not true",
    "none": "no rules: its attribute firewall is not true",
}
