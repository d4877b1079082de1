"""Edges of the graph, and the order of nodes."""

import pytest

from rocks.core.errors import StateError
from rocks.install.graph.document import Edge, Graph, Order, Selection
from rocks.install.graph.profile import check_orders, ordered_nodes, reached_nodes, read_graph
from tests.unit.install.graph.hosts import context


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


def order(names: str, *rules: str, generator: str = "shell") -> list[str]:
    """The names, by rules such as `a b` (a comes first) and `a b kgen`."""
    orders = [Order(*rule.split()) for rule in rules]
    return ordered_nodes(names.split(), orders, generator, context())


def test_a_walk_in_depth_finds_each_node_once_even_in_a_circle() -> None:
    edges = [Edge("a", "b"), Edge("b", "d"), Edge("a", "c"), Edge("c", "d"), Edge("d", "a"), Edge("x", "y")]
    assert reached_nodes(edges, "a", context()) == ["a", "b", "d", "c"]


def test_an_edge_counts_only_where_all_its_conditions_hold() -> None:
    edges = [
        Edge("a", "b", (Selection(condition="kvm"), Selection(os=("linux",)))),
        Edge("a", "c", (Selection(condition="kvm"), Selection(os=("sunos",)))),
    ]
    assert reached_nodes(edges, "a", context(kvm="true")) == ["a", "b"]
    assert reached_nodes(edges, "a", context()) == ["a"]


def test_rules_decide_and_what_no_rule_names_comes_last_by_name() -> None:
    assert order("a b z y", "b a") == ["b", "a", "y", "z"]
    assert order("c b a") == ["a", "b", "c"]


def test_head_and_tail_frame_everything() -> None:
    assert order("m z a n", "z HEAD", "TAIL a", "n m") == ["z", "n", "m", "a"]
    assert order("first other", "HEAD first") == ["first", "other"]


def test_a_rule_over_a_node_that_the_host_has_not_still_holds() -> None:
    assert order("a z", "z middle", "middle a") == ["z", "a"]


def test_a_rule_of_another_generator_does_not_count() -> None:
    assert order("a b", "b a kgen") == ["a", "b"]
    assert order("a b", "b a kgen", generator="kgen") == ["b", "a"]


@pytest.mark.parametrize("rules", [("a b", "b a"), ("a a",), ("TAIL a", "a HEAD", "HEAD b", "b TAIL")])
def test_circular_rules_raise(rules: tuple[str, ...]) -> None:
    with pytest.raises(StateError, match="has a cycle: .* before ") as caught:
        order("a b", *rules)
    assert "a before" in str(caught.value) or "before a" in str(caught.value)


def test_rules_for_different_hosts_are_no_circle() -> None:
    both = '<order head="a" tail="b"{}/><order head="b" tail="a"{}/>'
    conditions = [
        (" cond=\"packaging != 'rpm'\"", " cond=\"packaging != 'deb'\""),
        (' os="linux"', ' os="sunos"'),
    ]
    for one in conditions:
        check_orders(read_graph([("g.xml", f"<graph>{both.format(*one)}</graph>".encode())]).orders)
    with pytest.raises(StateError, match=r"has a cycle: .*\(g\.xml, line 1\)"):
        check_orders(read_graph([("g.xml", f"<graph>{both.format('', '')}</graph>".encode())]).orders)
