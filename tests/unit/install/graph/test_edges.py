"""Graph files: edges and order in all their forms."""

import pytest

from rocks.core.errors import StateError
from rocks.install.graph.edges import read_graph
from rocks.install.graph.records import Edge, Graph, Order, Selection


def read(body: str) -> Graph:
    return read_graph([("g.xml", f'<graph roll="x">{body}</graph>'.encode())])


def test_an_edge_has_its_ends_as_attributes_or_as_tags() -> None:
    linux = Selection(os=("linux", "sunos"), condition="kvm")
    graph = read(
        '<edge from="a" to="b" os="linux,sunos" cond="kvm"/>'
        '<edge from="a"><to>b</to><to arch="i386"> c </to></edge>'
        '<edge to="a" cond="kvm"><from release="9">d</from></edge>'
        "<description>words</description><changelog/><copyright/><!-- no tag -->"
    )
    assert graph.edges == (
        Edge("a", "b", (linux,), "g.xml, line 1"),
        Edge("a", "b", (Selection(), Selection()), "g.xml, line 1"),
        Edge("a", "c", (Selection(), Selection(arch=("i386",))), "g.xml, line 1"),
        Edge("d", "a", (Selection(condition="kvm"), Selection(release=("9",))), "g.xml, line 1"),
    )


def test_order_has_heads_and_tails_and_a_generator() -> None:
    graph = read('<order head="HEAD" gen="kgen"><tail>a</tail></order><order tail="TAIL" head="b"/>')
    assert graph.orders == (
        Order("HEAD", "a", "kgen", (Selection(), Selection()), "g.xml, line 1"),
        Order("b", "TAIL", "", (Selection(),), "g.xml, line 1"),
    )


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("<edgy/>", "g.xml, line 1: <edgy> is not a tag of graphs"),
        ('<edge from="a"/>', "<edge> needs from and to"),
        ("<edge><to>a</to></edge>", "<edge> needs from and to"),
        ('<edge from="a" to="b"><to>c</to></edge>', "<edge> needs from and to"),
        ('<edge from="a"><from>c</from></edge>', "<to>NAME</to> is expected here"),
        ('<edge from="a"><to> </to></edge>', "<to>NAME</to> is expected here"),
        ('<edge from="a" to="b" if="c"/>', "<edge> has no attribute if"),
        ('<edge from="a"><to if="c">b</to></edge>', "<to> has no attribute if"),
        ('\n<edge from="a" to="b" cond="f()"/>', "g.xml, line 2: the condition 'f()'"),
    ],
)
def test_error_names_the_position(body: str, message: str) -> None:
    with pytest.raises(StateError) as caught:
        read(body)
    assert message in str(caught.value)


def test_a_file_of_another_kind_is_refused() -> None:
    with pytest.raises(StateError, match=r"n\.xml is not a graph file: its root is <kickstart>"):
        read_graph([("n.xml", b"<kickstart/>")])
