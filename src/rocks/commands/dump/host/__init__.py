"""`rocks dump host`"""

import rocks.commands.dump
from rocks.commands._framework.shell_quoting import launcher, quote
from rocks.inventory.host_records import find_local_host
from rocks.inventory.hosts import describe_hosts, sharing_places


class Command(rocks.commands.dump.command):
    """
    Print the commands that add the hosts, with their run and install actions. The command omits this machine,
    because its frontend exists before the output is replayed.

    <shared names='any-hosts'/>
    <param type='bool' name='local' default='no'>
    Also print commands for this machine, which add it unless it exists when the output is replayed.
    </param>

    <example cmd='dump host'>
    All hosts except this one.
    </example>
    <example cmd='dump host local=yes'>
    All hosts.
    </example>

    <related>dump host interface</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print three lines per host."""
        local = (find_local_host(self.db) or "").lower()
        shared = {name.lower() for name in sharing_places(self.db)}
        has_local = self.fillFlag("local")
        names = [name for name in self.getHostnames(args) if has_local or name.lower() != local]
        for name, os_name, *cells, run_action, install_action in describe_hosts(self.db, names):
            values = zip(("cpus", "rack", "rank", "membership"), cells, strict=True)
            place = [("shared-place", "yes")] if str(name).lower() in shared else []
            if str(name).lower() == local:
                self.addText(f"{quote(launcher())} list host {quote(str(name))} >/dev/null 2>&1 || ")
            self._dump_add_host(
                str(name), [*((key, value) for key, value in values), ("os", os_name), *place]
            )
            self.dump("set", "host", "runaction", str(name), f"action={run_action or 'none'}")
            self.dump("set", "host", "installaction", str(name), f"action={install_action or 'none'}")

    def _dump_add_host(self, name: str, values: list[tuple[str, object]]) -> None:
        # The two words are quoted together, so that a host may have the name of a command below `add host`.
        arguments = [
            quote(name),
            *(f"{key}={quote(str(value))}" for key, value in values if value is not None),
        ]
        self.addText(f'{quote(launcher())} "add host" {" ".join(arguments)}\n')
