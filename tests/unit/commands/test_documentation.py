"""What a command's docstring says, in every form of help."""

import json

import pytest
from lxml import etree

from rocks.commands._framework.base import Command
from rocks.commands._framework.documentation import (
    Documentation,
    help_docbook,
    help_parsed,
    help_sphinx,
    help_text,
    read_documentation,
)


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
