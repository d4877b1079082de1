"""Files as XML: the host's entities and no others, and errors that say where."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rocks.core.errors import StateError
from rocks.install.graph.document import parse_document
from tests.unit.install.graph.hosts import context

_XML_TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff")
)


@given(_XML_TEXT)
def test_any_value_arrives_in_text_and_in_tags_as_it_is(value: str) -> None:
    host = context(**{"img-x": value})
    root = parse_document(b'<kickstart a="&img-x;">&img-x;|&IMG-X;</kickstart>', "n.xml", host)

    assert root.text == f"{value}|{value}"
    assert root.get("a") == value


def test_line_ends_of_a_value_are_preserved() -> None:
    root = parse_document(b"<a>&v;</a>", "n.xml", context(v="one\r\ntwo\n"))
    assert root.text == "one\r\ntwo\n"


def test_a_declaration_and_comments_may_come_first_and_lines_keep_their_numbers() -> None:
    data = b'<?xml version="1.0"\n standalone="no"?>\n<!-- of us -->\n<a>\n<b/></a>'
    root = parse_document(data, "n.xml", context())
    assert root[0].sourceline == 5


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"<a>&nosuch;</a>", "n.xml, line 1: &nosuch; has no value here: the host has no attribute nosuch"),
        (b"<a>\n&why;</a>", "n.xml, line 2: &why; has no value here: it is not set"),
        (b"<a b='&nosuch;'/>", "&nosuch; has no value here"),
        (b"<a>&bell;</a>", "has a character that is not valid in XML"),
        (b"<a>\n<b></a>", "n.xml, line 2: invalid XML"),
        (b"", "n.xml, line 1: invalid XML"),
        (b"<a>\xff</a>", "n.xml is not UTF-8 text"),
        (b'<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>', "has a DOCTYPE"),
        (b'<?xml version="1.0"?> <!-- > --> <?p?>\n<!DOCTYPE a SYSTEM "http://x/"><a/>', "has a DOCTYPE"),
        (b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>', "has a DOCTYPE"),
    ],
)
def test_error_names_the_position(data: bytes, message: str) -> None:
    host = context({"why": "it is not set"}, bell="\a")
    with pytest.raises(StateError) as caught:
        parse_document(data, "n.xml", host)
    assert message in str(caught.value)


def test_what_looks_like_an_entity_in_a_script_is_text() -> None:
    root = parse_document(b"<a><![CDATA[a && b; &nosuch; &hostname;]]></a>", "n.xml", context())
    assert root.text == "a && b; &nosuch; &hostname;"
