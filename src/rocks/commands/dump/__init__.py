"""`rocks dump`, and the base of the commands below it: they print the commands that recreate the database."""

from __future__ import annotations

from contextlib import nullcontext

import rocks.commands
from rocks.commands._framework.plugins import TAIL, BuiltinPlugin, Plugin
from rocks.commands._framework.shell_quoting import launcher, positional, quote
from rocks.commands._framework.tree import all_commands, load_package, tree_folders
from rocks.database.snapshots import one_moment
from rocks.inventory.attributes.secret_names import is_secret

ORDER = (
    "first-rows",
    "network",
    "distribution",
    "appliance",
    "appliance attr",
    "appliance route",
    "attr",
    "os attr",
    "route",
    "os route",
    "bootaction",
    "host",
    "host interface",
    "host alias",
    "host partition",
    "host vm",
    "host attr",
    "host vm nas",  # a host is a NAS by an attribute
    "host bootflags",
    "host route",
    "host key",
    "host boot",
    "host sriov",
    "host ibport",
    "ib partition",
    "roll",
    "host roll",
    "firewall",
)
"""Commands below `dump`, each after what it needs when it is replayed. Those that are not listed follow."""

_PLUGIN_NAMES = {"host interface": "interface", "host vm": "vm", "host vm nas": "vm-nas"}
_SECRETS_LEFT_OUT = (
    "# Secrets are not among these commands: rocks dump sec_attr and rocks dump host sec_attr print them.\n"
)


class command(rocks.commands.Command):
    """Base of the commands below `dump`."""

    MustBeRoot = 0
    InWholeDump = True
    """Whether `rocks dump` has this part."""
    DumpedAfter: tuple[str, ...] = ORDER
    """The commands below `dump` whose output must be replayed before, if they exist, for one that ORDER lacks."""

    def dump(self, *arguments: str) -> None:
        """Add the line that runs `rocks` with these words, each quoted for a shell."""
        self.addText(_line((launcher(), *arguments)) + "\n")

    def dump_attribute(self, scope: str, member: str, name: str, value: str) -> None:
        """Add the line that adds an attribute, or that gives a secret to its command on standard input.

        Earlier releases stored secrets like other attributes. Where there is no command for secrets it is a comment.
        Old values are left out: rocks run reconfigure clear=yes, the last line of a dump, removes them.
        """
        from rocks.inventory.attributes.rules import is_old, near_miss

        if is_old(name):
            return
        of_scope = () if scope == "global" else (scope,)
        of_member = () if scope == "global" else (member,)
        if not is_secret(name):
            forced = () if near_miss(name) is None else ("force=yes",)
            self.dump("add", *of_scope, "attr", *of_member, name, positional("value", value), *forced)
        elif scope in ("global", "host"):
            self.dump_secret(member if scope == "host" else None, name, value)
        else:
            self.addText(
                f"# the secret {name} of {scope} {member} is left out: rocks set host sec_attr HOST {name}\n"
            )

    def dump_secret(self, host: str | None, name: str, value: str) -> None:
        """Add the line that gives a secret of a host, or a global one (None), to its command on standard input."""
        # a shell's own command: no process has the value in its line
        given = _line(("printf", "%s\\n", value))
        command_line = ("set", "sec_attr", name) if host is None else ("set", "host", "sec_attr", host, name)
        self.addText(f"{given} | {_line((launcher(), *command_line))}\n")


def _line(arguments: tuple[str, ...]) -> str:
    return " ".join(map(quote, arguments))


class Command(command):
    """
    Print the commands that recreate the content of the cluster database on an empty one (rocks update database):
    all commands below dump, in the order in which they must be replayed, and plugins of other rolls. The last
    command removes the old values of attributes that replaying leaves. Left out are secrets (rocks dump sec_attr,
    rocks dump host sec_attr), empty attributes, the previous values of attributes, leases of virtual machines and
    installations of hosts that are under way. Changes of other commands meanwhile are not in it.

    <example cmd='dump'>
    Print one shell command per line.
    </example>

    <related>dump host</related>
    <related>dump host vm nas</related>
    <related>dump roll</related>
    <related>dump sec_attr</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Have each plugin add its part, in order; all of one moment, unless a command that changes calls it."""
        with one_moment(self.db) if self._stream else nullcontext():
            self.runPlugins()

    def builtinPlugins(self) -> list[Plugin]:
        """One plugin for each command below `dump`, of every tree, and those of this module."""
        parts = self._parts()
        ordered = [name for name in ORDER if name in parts or name == "first-rows"]
        plugins: list[Plugin] = [FirstRows(self, "first-rows", ()), End(self, "end", (TAIL,))]
        for name, after in parts.items():
            before = ordered[: ordered.index(name)] if name in ordered else after
            kind = _KINDS.get(name, DumpPart)
            plugins.append(kind(self, _plugin_name(name), tuple(map(_plugin_name, before)), name))
        return plugins

    def _parts(self) -> dict[str, tuple[str, ...]]:
        """Words below `dump` → words of the parts after which it is replayed. BugError for a command with a fault."""
        trees = tree_folders()
        found = {}
        for path in all_commands(trees):
            if path[0] != "dump" or len(path) == 1:
                continue
            part = getattr(load_package(path, trees), "Command", None)
            if part is not None and getattr(part, "InWholeDump", True):
                found[" ".join(path[1:])] = tuple(getattr(part, "DumpedAfter", ORDER))
        return found


def _plugin_name(part: str) -> str:
    return _PLUGIN_NAMES.get(part) or part.replace(" ", "-")


class DumpPart(BuiltinPlugin):
    """Adds the output of one command below `dump`."""

    arguments: tuple[str, ...] = ()

    def __init__(self, owner: Command, name: str, after: tuple[str, ...], part: str = "") -> None:
        super().__init__(owner, name, after)
        self._part = part

    def run(self, arguments: str) -> None:
        """Add the output of the command."""
        self.owner.addText(self.owner.command(f"dump {self._part}", self.arguments))


class HostPart(DumpPart):
    """The hosts, with this machine, which an empty database does not have."""

    arguments = ("local=yes",)


class AppliancePart(DumpPart):
    """The appliances that an empty database does not have in the same form."""

    def run(self, arguments: str) -> None:
        """Add the output of the command for these appliances."""
        from rocks.site.first_rows import other_appliances

        others = other_appliances(self.db)
        if others:
            self.owner.addText(self.owner.command("dump appliance", others))


class ApplianceAttributePart(DumpPart):
    """The attributes of appliances, after the removal of those that are there from the beginning."""

    def run(self, arguments: str) -> None:
        """Add the commands that remove attributes, and the output of the command."""
        from rocks.site.first_rows import first_names

        for name in first_names("appliance"):
            self.owner.addText(_line((launcher(), "remove", "appliance", "attr", "%", name)) + "\n")
        super().run(arguments)


_KINDS = {"host": HostPart, "appliance": AppliancePart, "appliance attr": ApplianceAttributePart}


class FirstRows(DumpPart):
    """Removes what an empty database has and this one has not, or has in another form, and first attributes."""

    def run(self, arguments: str) -> None:
        """Add the commands."""
        from rocks.site.first_rows import changed_appliances, first_names, missing_boot_actions

        lines: list[tuple[str, ...]] = [("remove", "appliance", name) for name in changed_appliances(self.db)]
        lines += [("remove", "bootaction", name) for name in missing_boot_actions(self.db)]
        lines += [("remove", "attr", name) for name in first_names("global")]
        lines += [("remove", "os", "attr", "%", name) for name in first_names("os")]
        self.owner.addText("".join(f"{_line((launcher(), *line))}\n" for line in lines))


class End(DumpPart):
    """What ends a dump."""

    def run(self, arguments: str) -> None:
        """Add a comment on what is left out, and the command that removes old values of attributes."""
        self.owner.addText(_SECRETS_LEFT_OUT)
        self.owner.addText(_line((launcher(), "run", "reconfigure", "clear=1")) + "\n")
