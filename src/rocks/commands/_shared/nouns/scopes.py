"""A noun with a scope: what is stored for the site, operating systems, appliances or hosts, declared once for all.

A module declares a class for each verb, with `help`; the folder of a command names it and its scope:
`class Command(RouteAddition, scope="os"): ...`.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import rocks.commands.dump
from rocks.commands._framework.arguments import besides
from rocks.commands._framework.base import Command
from rocks.core.errors import UserError
from rocks.core.names import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

SCOPES = ("global", "os", "appliance", "host")
Texts = tuple[str, str, str, str]
"""A text for each scope, in their order."""

_MEMBERS = {
    "os": ("both", "Operating systems, linux or sunos; % is a wildcard."),
    "appliance": ("all", "Appliances; % is a wildcard."),
    "host": ("all hosts", "Hosts, by name or any other selector."),
}
"""Scope → (all its members in words, the text of their argument)."""
_OF_ALL_NOUNS: Mapping[str, Texts] = {
    "scope": ("", "os ", "appliance ", "host "),
    "member": ("", " linux", " compute", " compute-0-0"),
    "one": ("", "One operating system.", "One appliance.", "One host."),
}
_EMPTY = re.compile(r"<(example|related)\b[^>]*>\s*</\1>\s*")


class ScopeCommand(Command):
    """Base of the commands on one scope; a command with a docstring of its own keeps it."""

    scope: ClassVar[str]
    help: ClassVar[str] = ""
    """The docstring, with {arguments} for that of the members, {scope}, {member} (an example), {one} and `texts`.

    An example or a related command without a text is left out.
    """
    texts: ClassVar[Mapping[str, Texts]] = {}
    required: ClassVar[Sequence[str]] = ()
    """The scopes of which a member must be named."""
    how_all_are_meant: ClassVar[str] = ""
    """Follows in the help where all members are the default."""

    def __init_subclass__(cls, scope: str = "", **rest: Any) -> None:
        super().__init_subclass__(**rest)
        if scope:
            cls.scope = scope
            arguments = _arguments(scope, scope in cls.required, cls.how_all_are_meant)
            cls.__doc__ = cls.__doc__ or _filled(cls.help, scope, cls.texts, arguments)

    def members(self, names: Sequence[str]) -> list[str]:
        """The members of the scope that match `names`; the global scope has one, of that name."""
        self.check_named(names)
        return ["global"] if self.scope == "global" else members_of(self, self.scope, names)

    def check_named(self, names: Sequence[str]) -> None:
        """UserError when no member is named, but must be."""
        if self.scope in self.required and not names:
            # a value may be a secret, and errors are logged
            given = [one for one in self.from_end if not one.startswith("value ")]
            raise UserError(f"must supply at least one {self.scope}{besides(given)}")

    def note_missing(self, noun: str, what: str, members: Sequence[str], hint: str = "") -> None:
        """A line on standard error that there was nothing to remove, which is no error; `hint` names a similar one."""
        scope_name = "" if self.scope == "global" else f"{self.scope} "
        # a host may have it from a wider scope
        whose = f" of {printable(', '.join(members))}" if scope_name and members else ""
        self.notify(f"no {self.scope} {what}{whose}: {hint}rocks list {scope_name}{noun} shows all")


def members_of(command: Command, scope: str, names: Sequence[str]) -> list[str]:
    """The members of another scope than the global one that match `names`."""
    expansions: dict[str, Callable[[Sequence[str]], list[str]]] = {
        "appliance": command.getApplianceNames,
        "host": command.getHostnames,
        "os": command.getOSNames,
    }
    return expansions[scope](names)


def _filled(text: str, scope: str, texts: Mapping[str, Texts], arguments: str) -> str:
    """The text for a scope."""
    values = {name: of_scopes[SCOPES.index(scope)] for name, of_scopes in {**_OF_ALL_NOUNS, **texts}.items()}
    return _EMPTY.sub("", text.format(arguments=arguments, **values))


def _arguments(scope: str, is_required: bool, how_all_are_meant: str) -> str:
    if scope == "global":
        return ""
    default, text = _MEMBERS[scope]
    optional = "" if is_required else f"optional='1' default='{default}{how_all_are_meant}' "
    return f"<arg {optional}type='string' name='{scope}' repeat='1'>\n{text}\n</arg>"


class ScopeListing(ScopeCommand):
    """Base of `list …`: a row for each of `rows`, after its member where there are several."""

    MustBeRoot = 0
    header: ClassVar[Sequence[str]]
    trimmed: ClassVar[Sequence[str]] = ()
    """The scopes whose table leaves out the member when all rows have the same."""

    def rows(self, members: Sequence[str]) -> Sequence[tuple[str, Sequence[str]]]:
        """(member, cells), in order."""
        raise NotImplementedError

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the rows."""
        self.beginOutput()
        for member, cells in self.rows(self.members(args)):
            self.addOutput(*(cells[0], cells[1:]) if self.scope == "global" else (member, cells))
        owner = () if self.scope == "global" else (self.scope,)
        self.endOutput(header=(*owner, *self.header), trimOwner=self.scope in self.trimmed)


class ScopeDump(ScopeCommand, rocks.commands.dump.command):
    """Base of `dump …`."""

    @cached_property
    def _local(self) -> str | None:
        from rocks.inventory.host_records import find_local_host

        return find_local_host(self.db)

    def replayed(self, member: str) -> str:
        """The name under which the member is replayed: this machine may have another one then."""
        return "localhost" if self.scope == "host" and member == self._local else member
