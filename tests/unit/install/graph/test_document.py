"""Documents of nodes: of a host, of an appliance."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from rocks.core.errors import RocksError, StateError, UserError
from rocks.install.graph.document import Section, When, parse_document
from rocks.install.graph.node_documents import of_rolls, read_documents, write_document
from rocks.install.graph.tags import node_of, read_tree
from tests.unit.install.graph.hosts import SmallFrontend, context

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


def test_a_value_of_several_lines_moves_no_line() -> None:
    """A certificate, or the rules of a firewall."""
    host = context(v="one\ntwo\nthree")
    root = parse_document(b"<a>&v;\n<b/></a>", "n.xml", host)
    assert (root.text, root[0].sourceline) == ("one\ntwo\nthree\n", 2)
    with pytest.raises(StateError, match=r"n\.xml, line 2: &nosuch; has no value here"):
        parse_document(b"<a>&v;\n&nosuch;</a>", "n.xml", host)


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


_TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)))


def document(body: str, **values: str) -> str:
    tree = read_tree("n", "/x/n.xml", f"<kickstart>{body}</kickstart>".encode(), context(**values), None)
    return write_document([tree], values)


@given(st.dictionaries(st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,8}", fullmatch=True), _TEXT))
def test_any_attributes_arrive_as_they_are(values: dict[str, str]) -> None:
    text = write_document(
        [read_tree("n", "n.xml", b"<kickstart><post>x</post></kickstart>", context(), None)], values
    )
    assert read_documents(text, "input", {}, None).context.attributes == values


def test_another_parser_finds_the_same_dictionary_and_nodes() -> None:
    values = {"kvm": "yes", "odd": "it's \\ <&>\n\"%", "bell": "\a"}
    root = etree.fromstring(document("<post>&kvm;</post>", **values).encode())
    assert root.get("attrs", "").startswith("{'bell': '\\x07', 'kvm': 'yes', 'odd': ")
    assert [(one.tag, one.get("file")) for one in root] == [("loader", None), ("post", "/x/n.xml")]
    assert [dict(one.attrib) for one in root[0]] == [{"name": "n", "roll": "base", "file": "/x/n.xml"}]


def test_conditions_are_evaluated_when_the_document_is_read() -> None:
    text = document("<post cond='kvm'>a</post><post cond='not kvm'>b</post>", kvm="yes")
    for given_values, expected in (({}, "a"), ({"kvm": "no"}, "b")):
        found = read_documents(text, "input", given_values, None)
        assert node_of(found.trees[0], found.context).sections == (Section(When.POST, (expected,)),)


def test_several_documents_are_read_as_one_and_given_values_come_first() -> None:
    text = (
        '<?xml version="1.0" standalone="no"?>\n<!DOCTYPE rocks-graph [\n<!-- values -->\n<!ENTITY a "1 &lt; 2">\n'
        "<!ENTITY b 'b'>]>\n<kickstart><post>&a;&b;</post></kickstart>\n"
        '<?xml version="1.0"?>\n<kickstart>\n<post>&a;&c;</post></kickstart>'
    )
    found = read_documents(text, "input", {"b": "given", "c": "c"}, None)
    sections = [node_of(tree, found.context).sections[0] for tree in found.trees]
    assert [section.parts for section in sections] == [("1 < 2given",), ("1 < 2c",)]
    assert [section.place for section in sections] == ["input, line 6", "input, line 9"]


def test_nodes_can_be_limited_to_rolls() -> None:
    trees = [
        read_tree(name, name, f'<kickstart roll="{name}"/>'.encode(), context(), None)
        for name in ("a", "b", "c")
    ]
    assert [tree.roll for tree in of_rolls(trees, ["c", "a", "nosuch"])] == ["a", "c"]
    assert of_rolls(trees, []) == trees


def test_tags_to_be_processed_need_a_frontend() -> None:
    text = "<kickstart><post><eval>x</eval></post></kickstart>"
    found = read_documents(text, "input", {"hostname": "h1"}, SmallFrontend())
    assert node_of(found.trees[0], found.context).sections[0].parts == ("h1:x",)
    with pytest.raises(StateError, match="line 1: the tag <eval> is not supported here"):
        read_documents(text, "input", {}, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "input has no nodes; the command before it prints them"),
        ("Error: no such host", "input, line 1: invalid XML"),
        ("\n<kickstart>", "input, line 2: invalid XML"),
        ("<kickstart/>\n\nrest", "input, line 3: invalid XML"),
        ("<graph></graph>", "its root is <graph> and not <kickstart>"),
        ("<kickstart attrs='os.system(1)'/>", "line 1: attrs cannot be read"),
        ("<kickstart attrs='[1]'/>", "attrs is not a dictionary"),
        ("<kickstart attrs='{1: 2}'/>", "1 must be a text"),
        ("<kickstart><loader><x/></loader></kickstart>", "<loader> contains <node name= roll= file=>"),
        (
            "<kickstart><loader><node name='a\nreboot'/></loader></kickstart>",
            "<loader> contains <node name= roll= file=>",
        ),
        (
            "<kickstart><loader/>\n<post/></kickstart>",
            "input, line 2: <loader> does not list the file of this tag",
        ),
        (
            '<!DOCTYPE x [<!ENTITY a "b">\n<!ENTITY c SYSTEM "/etc/passwd">]><kickstart/>',
            "line 2: a DOCTYPE may contain",
        ),
        ('<!DOCTYPE x [<!ENTITY % a "b">]><kickstart/>', "a DOCTYPE may contain"),
        ('<!DOCTYPE x SYSTEM "http://x/"><kickstart/>', "has a DOCTYPE"),
        ('<!DOCTYPE x [<!ENTITY a "&b;&b;"><!ENTITY b "x">]><kickstart/>', "the entity a contains '&b;'"),
        ('<!DOCTYPE x [<!ENTITY a "<post/>">]><kickstart/>', "the entity a contains '<'"),
        ('<!DOCTYPE x [<!ENTITY a "&#60;post/>">]><kickstart/>', "the entity a contains '<'"),
        ("<kickstart><post>&nosuch;</post></kickstart>", "&nosuch; has no value here"),
    ],
)
def test_other_text_is_one_error(text: str, message: str) -> None:
    with pytest.raises(RocksError) as caught:
        read_documents(text, "input", {}, None)
    assert message in str(caught.value)
    assert isinstance(caught.value, StateError | UserError)


@given(st.text("<>&;'\"ab!%[] \nkicstarDOTYPENIM/?=x-", max_size=80))
def test_any_text_is_read_or_one_error(text: str) -> None:
    for whole in (
        text,
        f"<kickstart>{text}</kickstart>",
        f"<!DOCTYPE a [{text}]><kickstart><post/></kickstart>",
    ):
        try:
            trees = read_documents(whole, "input", {}, None).trees
        except (StateError, UserError) as error:
            assert str(error)
        else:
            assert trees
