"""The noun `attr`: what is stored for each scope, listed and dumped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.commands._shared.nouns.scopes import ScopeDump, ScopeListing

if TYPE_CHECKING:
    from collections.abc import Sequence


class AttributeListing(ScopeListing):
    """`list … attr`, of what is stored for a scope."""

    header = ("attr", "value")
    trimmed = ("os",)
    texts = {
        "those": (
            "global attributes, which apply to all hosts",
            "attributes that are set for operating systems",
            "attributes that are set for appliances",
            "",
        ),
        "first": ("", "The attributes of one operating system.", "The attributes of one appliance.", ""),
        "all": (
            "All global attributes in alphabetical order.",
            "All operating systems.",
            "All appliances.",
            "",
        ),
    }
    help = """
    List the {those}.

    {arguments}

    <example cmd='list {scope}attr{member}'>{first}</example>
    <example cmd='list {scope}attr'>{all}</example>

    <related>list host attr</related>
    <related>set {scope}attr</related>
    """

    def rows(self, members: Sequence[str]) -> Sequence[tuple[str, Sequence[str]]]:
        """The attributes, by name."""
        from rocks.inventory.attributes.records import read_attributes

        return [(member, row) for member, *row in read_attributes(self.db, self.scope, members)]


class AttributeDump(ScopeDump):
    """`dump … attr`."""

    texts = {
        "those": (
            "global attributes",
            "attributes of operating systems",
            "attributes of appliances",
            "attributes of hosts, except os and arch, which are set when a host is added",
        )
    }
    help = """
    Print the commands that add the {those}.

    {arguments}

    <example cmd='dump {scope}attr'>
    Print one shell command per line.
    </example>
    <example cmd='dump {scope}attr{member}'>{one}</example>

    <related>add {scope}attr</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one command per attribute."""
        from rocks.inventory.attributes.records import read_attributes

        left_out = ("os", "arch") if self.scope == "host" else ()
        for member, name, value in read_attributes(self.db, self.scope, self.members(args)):
            if value and name.lower() not in left_out:
                self.dump_attribute(self.scope, self.replayed(member), name, value)
