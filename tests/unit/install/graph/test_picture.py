"""The digraph of hosts."""

from rocks.core.process import run
from rocks.install.graph.profile import digraph, read_graph
from tests.unit.install.graph.hosts import context

_GRAPH = read_graph(
    [
        (
            "g.xml",
            b'<graph><edge from="a" to="b" cond="kvm or x == \'\\y\'" arch="x86_64"/><edge from="b" to="c"/>'
            b'<edge from="a" to="z" cond="nosuch"/><order head="c" tail="b"/><order head="z" tail="b"/></graph>',
        )
    ]
)


def test_it_has_what_hosts_reach_with_conditions_and_order() -> None:
    text = digraph(_GRAPH, [("a", context(kvm="yes")), ("c", context())], "10,5", True)
    assert text.splitlines() == [
        *("digraph rocks {", '  size="10,5";', "  node [shape=ellipse];", "  rotate=90;"),
        *('  "a" [shape=box];', '  "b";', '  "c" [shape=box];'),
        *('  "a" -> "b" [label="arch x86_64 and (kvm or x == \'\\\\y\')"];', '  "b" -> "c";'),
        *('  "c" -> "b" [style=dashed color=grey constraint=false];', "}"),
    ]


def test_graphviz_reads_it() -> None:
    import shutil

    import pytest

    if shutil.which("dot") is None:
        pytest.skip("graphviz is not installed")
    text = digraph(_GRAPH, [("a", context(kvm="yes"))], "10,5", False)
    drawn = run(["dot", "-Tsvg"], deadline_seconds=60, standard_input=text.encode())
    assert (drawn.exit_status, drawn.error_text) == (0, "")
    assert "<svg" in drawn.text
