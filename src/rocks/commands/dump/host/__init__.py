"""`rocks dump host`"""

import os

import rocks.commands.dump
from rocks.commands.dump import INSTALLED_LAUNCHER, quote
from rocks.database import hosts, nodes


class Command(rocks.commands.dump.command):
    """
    Print the commands that add the hosts again, with their run and install actions. This machine itself is left
    out: its frontend is there before anything is replayed.

    <arg optional='1' type='string' name='host' repeat='1'>
    Hosts, by name or any other selector; all when none is given.
    </arg>

    <example cmd='dump host'>
    All hosts but this one.
    </example>

    <related>dump host interface</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print three lines a host."""
        local = (hosts.find_local_host(self.db) or "").lower()
        names = [name for name in self.getHostnames(args) if name.lower() != local]
        for name, os_name, *cells, run_action, install_action in nodes.describe_hosts(self.db, names):
            values = zip(("cpus", "rack", "rank", "membership"), cells, strict=True)
            self._dump_add_host(str(name), [*((key, value) for key, value in values), ("os", os_name)])
            self.dump("set", "host", "runaction", str(name), f"action={run_action or 'none'}")
            self.dump("set", "host", "installaction", str(name), f"action={install_action or 'none'}")

    def _dump_add_host(self, name: str, values: list[tuple[str, object]]) -> None:
        # The two words are quoted together, so that a host may be called like a command below `add host`.
        words = [quote(name), *(f"{key}={quote(str(value))}" for key, value in values if value is not None)]
        launcher = os.environ.get("ROCKS_LAUNCHER") or INSTALLED_LAUNCHER
        self.addText(f'{quote(launcher)} "add host" {" ".join(words)}\n')
