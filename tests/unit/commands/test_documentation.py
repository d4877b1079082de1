"""Commands' documentation, and the scopes of those that have them."""

import json

import pytest
from lxml import etree

from rocks.commands._framework.base import Command
from rocks.commands._framework.declarations import taken_by
from rocks.commands._framework.documentation import (
    Documentation,
    help_docbook,
    help_parsed,
    help_sphinx,
    help_text,
    read_documentation,
)
from rocks.commands._shared.nouns.attributes import AttributeRemoval, AttributeSetter
from rocks.commands._shared.nouns.scopes import ScopeCommand, ScopeListing
from rocks.core.errors import UserError
from rocks.database.connection import Database
from rocks.database.settings import Settings

# What a command's docstring says, in every form of help.


class Widget(Command):
    """
    Add a widget, which is
    round &amp; blue.

    It has a second paragraph.

    <arg type='string' name='host' repeat='1'>
    Hosts &lt;by name&gt;.
    </arg>
    <arg optional="1" type="string" name="colour"/>
    <param type='int' name='size' default="the widget's
        own" unit='mm'>
    Size.
    </param>
    <param type='bool' optional='0' name='hard'>
    yes or no.
    </param>

    <example cmd='add widget h1 size=4'>
    A small one.
    </example>
    <related>list widget</related>
    <related>remove widget</related>
    """


class Silent(Command):
    __doc__ = None


COMMAND_PATH = ("add", "widget")


def test_the_usage_line() -> None:
    usage = read_documentation(Widget).usage()
    assert usage == "{host} ... [colour] {hard=bool} [size=int]"


def test_description_paragraphs_are_rejoined_and_entities_read() -> None:
    assert read_documentation(Widget).description == (
        "Add a widget, which is round & blue.\n\nIt has a second paragraph."
    )


def test_plain_help() -> None:
    assert help_text(COMMAND_PATH, read_documentation(Widget), must_be_root=True) == (
        "rocks add widget {host} ... [colour] {hard=bool} [size=int]\n\n"
        "Description:\n\n\tAdd a widget, which is round & blue.\n\n\tIt has a second paragraph.\n\n"
        "Arguments:\n\n\t{host}\n\n\tHosts <by name>.\n\tType: string.\n\n\t[colour]\n\n\tType: string.\n\n"
        "Parameters:\n\n\t[size=int]\n\n\tSize.\n\tType: int. Unit: mm. Default: the widget's own.\n\n"
        "\t{hard=bool}\n\n\tyes or no.\n\tType: bool.\n\n"
        "Examples:\n\n\t# rocks add widget h1 size=4\n\n\tA small one.\n\n"
        "Related Commands:\n\n\trocks list widget\n\trocks remove widget\n"
    )


@pytest.mark.parametrize(("columns", "longest"), [(1, 24), (40, 32), (80, 72), (100, 92), (500, 112)])
def test_the_width_of_the_terminal(columns: int, longest: int) -> None:
    """A tabulator is 8 columns; a line longer than 112 characters is hard to read."""
    description = "Word " * 100
    text = help_text(COMMAND_PATH, Documentation("", description.strip()), False, columns)
    lines = [line.removeprefix("\t") for line in text.splitlines() if line.startswith("\tWord")]
    assert longest - 5 < max(map(len, lines)) <= longest
    assert " ".join(lines) == description.strip()


def test_the_prompt_depends_on_the_permission() -> None:
    assert "\t$ rocks add widget h1 size=4\n" in help_text(COMMAND_PATH, read_documentation(Widget), False)


def test_help_without_documentation_is_the_command_line() -> None:
    documentation = read_documentation(Silent)
    assert documentation.usage() == ""
    assert help_text(("quiet",), documentation, False).startswith("rocks quiet\n")


def test_help_for_programs_is_json() -> None:
    parts = json.loads(help_parsed(COMMAND_PATH, read_documentation(Widget), "kvm"))
    assert (parts["command"], parts["roll"]) == ("add widget", "kvm")
    assert parts["parameters"][0] == {
        "name": "size",
        "type": "int",
        "optional": True,
        "repeat": False,
        "text": "Size.",
        "values": [],
        "default": "the widget's own",
        "unit": "mm",
    }
    assert parts["related"] == ["list widget", "remove widget"]


def test_docbook_is_well_formed() -> None:
    section = etree.fromstring(help_docbook(COMMAND_PATH, read_documentation(Widget)))
    assert section.get("id") == "rocks-add-widget"
    assert section.findtext("title") == "add widget"
    assert "Hosts <by name>." in section.xpath("string(.//listitem/para)")


def test_sphinx_help_has_a_title_and_its_parts() -> None:
    text = help_sphinx(COMMAND_PATH, read_documentation(Widget))
    assert text.startswith("add widget\n----------\n\n**rocks add widget** {host} ...")
    assert "* ``size`` Size. Type: int. Unit: mm. Default: the widget's own.\n" in text
    assert "::\n\n    rocks add widget h1 size=4\n" in text


# A noun with a scope: one declaration makes the commands of each scope, with their help.


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
