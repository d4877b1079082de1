"""Which nodes a host has, and in which order."""

import pytest

from rocks.core.errors import StateError
from rocks.install.graph.order import ordered_nodes, reached_nodes
from rocks.install.graph.records import Edge, Order, Selection
from tests.unit.install.graph.hosts import context


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
