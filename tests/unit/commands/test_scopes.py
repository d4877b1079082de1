"""A noun with a scope: one declaration makes the commands of each scope, with their help."""

import pytest

from rocks.commands._framework.declarations import taken_by
from rocks.commands._framework.documentation import read_documentation
from rocks.commands._shared.nouns.attributes import AttributeRemoval, AttributeSetter
from rocks.commands._shared.nouns.scopes import ScopeCommand, ScopeListing
from rocks.core.errors import UserError
from rocks.database.connection import Database
from rocks.database.settings import Settings

NOWHERE = Database(Settings("/nowhere", "", 0, "", "", ""))


class Tile(ScopeCommand):
    """`set … tile`."""

    required = ("host",)
    texts = {"whose": ("all hosts", "systems", "appliances", "hosts"), "second": ("", "", "Two.", "Two.")}
    help = """
    Set the tile of {whose}.

    {arguments}
    <arg type='int' name='size' unit='pixels'>Its size.</arg>

    <example cmd='set {scope}tile{member} 4'>A number.</example>
    <example cmd='set {scope}tile{member} 5'>{second}</example>

    <related>list {scope}tile</related>
    <related>{second}</related>
    """


class OfSite(Tile, scope="global"): ...


class OfAppliances(Tile, scope="appliance"): ...


class OfHosts(Tile, scope="host"): ...


class SetHostAttribute(AttributeSetter, scope="host"): ...


class RemoveHostAttribute(AttributeRemoval, scope="host"): ...


class OwnDocstring(Tile, scope="os"):
    """Set it in another way."""


def test_the_help_of_a_scope_is_filled_in() -> None:
    found = read_documentation(OfHosts)
    assert found.description == "Set the tile of hosts."
    assert found.usage() == "{host} ... {size}"
    assert found.examples == [
        ("set host tile compute-0-0 4", "A number."),
        ("set host tile compute-0-0 5", "Two."),
    ]


def test_the_site_has_no_member_and_empty_elements_are_left_out() -> None:
    found = read_documentation(OfSite)
    assert found.usage() == "{size}"
    assert found.examples == [("set tile 4", "A number.")]
    assert found.related == ["list tile"]


def test_members_that_need_not_be_named_have_a_default() -> None:
    member, size = taken_by(OfAppliances)
    assert (member.name, member.optional, member.repeat) == ("appliance", True, True)
    assert not size.optional and read_documentation(OfAppliances).arguments[0].default == "all"


def test_a_command_keeps_its_own_docstring() -> None:
    assert OwnDocstring.__doc__ == "Set it in another way." and OwnDocstring.scope == "os"


def test_a_scope_that_needs_a_member_refuses_none() -> None:
    with pytest.raises(UserError, match="must supply at least one host"):
        OfHosts(NOWHERE).members([])
    assert OfSite(NOWHERE).members([]) == ["global"]
    assert OwnDocstring(NOWHERE).members(["lin%"]) == ["linux"]


class Listing(ScopeListing):
    """`list … tile`."""

    header = ("size", "colour")
    trimmed = ("os",)

    def rows(self, members):  # type: ignore[no-untyped-def]
        """One row a member."""
        return [(member, ("4", "red")) for member in members]


class ListingOfSite(Listing, scope="global"): ...


class ListingOfSystems(Listing, scope="os"): ...


@pytest.mark.parametrize(
    ("command_class", "names", "lines"),
    [
        (ListingOfSite, [], ["SIZE COLOUR", "4: red"]),
        (ListingOfSystems, [], ["OS SIZE COLOUR", "linux: 4 red", "sunos: 4 red"]),
        (ListingOfSystems, ["linux"], ["SIZE COLOUR", "4 red"]),
    ],
)
def test_a_listing_begins_with_the_member(
    command_class: type[Listing], names: list[str], lines: list[str]
) -> None:
    command = command_class(NOWHERE)
    command.run({}, names)
    assert [" ".join(line.replace("-", " ").split()) for line in command.getText().splitlines()] == lines


def test_help_says_how_a_change_of_attributes_means_all() -> None:
    """Without a terminal, a change of which no member is named is refused: "all hosts" alone would be wrong."""
    for command in (SetHostAttribute, RemoveHostAttribute):
        (hosts, *_) = read_documentation(command).arguments
        assert hosts.default == "all hosts, when a person confirms it; without a terminal, % is needed"
