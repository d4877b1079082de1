"""The profile of a host: edges, the nodes that they reach, their order; its picture."""

from pathlib import Path

import pytest

from rocks.core.errors import StateError, UserError
from rocks.core.process import run
from rocks.install.graph.document import Edge, Graph, Order, Selection
from rocks.install.graph.profile import (
    Profile,
    ProfileRequest,
    check_orders,
    create_profile,
    digraph,
    ordered_nodes,
    reached_nodes,
    read_graph,
)
from rocks.install.graph.shell import shell_script
from rocks.install.graph_files import Library
from tests.unit.install.graph.hosts import context

# Edges of the graph, and the order of nodes.


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


# Nodes put together: missing ones, the site's own, and what the script makes of them.


def library(folder: Path, **files: str) -> Library:
    """A base folder with nodes (`a`), the site's nodes (`extend_a`), and one graph file (`graph`)."""
    for name, body in {"graph": "", **files}.items():
        path = folder / "nodes" / f"{name}.xml"
        text = f"<kickstart>{body}</kickstart>"
        if name == "graph":
            path, text = folder / "graphs/default/g.xml", f"<graph>{body}</graph>"
        elif "_" in name:
            path = folder / "site-nodes" / f"{name.replace('_', '-')}.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Library(folder)


def profile_of(files: Library, root: str = "a") -> Profile:
    graph = read_graph(files.graph_files("default"))
    return create_profile(ProfileRequest("h1", root, "shell", context()), graph, files.node_files)


def script_of(folder: Path, body: str, packaging: str = "deb") -> str:
    return shell_script(profile_of(library(folder, a=body)), "functions", packaging)


def test_the_sites_files_replace_and_extend(tmp_path: Path) -> None:
    files = library(
        tmp_path,
        graph='<edge from="a" to="b"/>',
        a="<package>a</package>",
        b="<package>b</package>",
        extend_a="<package>more</package>",
        replace_b="<package>other</package>",
    )
    packages = [(node.name, node.packages[0].name) for node in profile_of(files).nodes]
    assert packages == [("a", "a"), ("a", "more"), ("b", "other")]


def test_the_sites_graph_is_added(tmp_path: Path) -> None:
    files = library(tmp_path, a="<package>a</package>", site_b="<package>b</package>")
    graph = tmp_path / "site-graphs/default/site.xml"
    graph.parent.mkdir(parents=True)
    graph.write_text('<graph><edge from="a" to="site-b"/><order head="site-b" tail="a"/></graph>')
    assert [node.name for node in profile_of(files).nodes] == ["site-b", "a"]


def test_a_file_of_the_site_with_the_name_of_a_node_is_an_error(tmp_path: Path) -> None:
    files = library(tmp_path, a="<package>a</package>")
    (tmp_path / "site-nodes").mkdir()
    (tmp_path / "site-nodes/a.xml").write_text("<kickstart/>")
    with pytest.raises(StateError, match=r"site-nodes/a\.xml is not used, .* rename it to extend-a\.xml"):
        profile_of(files)


def test_error_names_the_missing_node_and_its_user(tmp_path: Path) -> None:
    files = library(tmp_path, graph='<edge from="a" to="b"/>', a="")
    with pytest.raises(StateError, match=r'cannot find node "b", which a includes by .*/g\.xml'):
        profile_of(files)
    with pytest.raises(StateError, match='cannot find node "c", with which the graph of host h1 begins'):
        profile_of(files, "c")
    with pytest.raises(StateError, match="cannot find node"):
        profile_of(files, "../nodes/a")


def test_a_missing_graph_or_base_folder_raises(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="it has no folder graphs"):
        Library(tmp_path)
    with pytest.raises(StateError, match="no such graph other"):
        library(tmp_path).graph_files("other")


def test_installer_parts_are_omitted_and_reported(tmp_path: Path) -> None:
    script = script_of(
        tmp_path, '<main><lang>x</lang></main><pre>echo pre</pre><post arg="--nochroot">echo out</post>'
    )
    assert "# node a: for an installer only: pre, main, --nochroot" in script
    assert "echo pre" not in script and "echo out" not in script


def test_boot_sections_frame_the_others(tmp_path: Path) -> None:
    script = script_of(tmp_path, '<boot order="post">echo 3</boot><post>echo 2</post><boot>echo 1</boot>')
    assert script.index("echo 1") < script.index("echo 2") < script.index("echo 3")


def test_a_package_that_one_node_excludes_is_not_installed(tmp_path: Path) -> None:
    body = '<package>b</package><package>a</package><package>b</package><package disable="1">b</package>'
    assert "\nrocks_packages_rpm a\n" in script_of(tmp_path, body, "rpm")


def test_groups_of_packages_are_for_rpm(tmp_path: Path) -> None:
    body = '<package type="meta">virtualization hosts</package>'
    assert "rocks_packages_rpm '@virtualization hosts'" in script_of(tmp_path, body, "rpm")
    with pytest.raises(StateError, match=r"a\.xml, line 1: virtualization hosts is a group of packages"):
        script_of(tmp_path, body)


def test_another_packaging_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="packaging 'brew', which is deb or rpm"):
        script_of(tmp_path, "", "brew")


def test_files_are_for_sections_of_bash(tmp_path: Path) -> None:
    body = '<post interpreter="{}"><file name="/f">x</file></post>'
    assert "rocks_file /f create" in script_of(tmp_path, body.format("/bin/bash"))
    with pytest.raises(StateError, match=r"a\.xml, line 1: a section of the interpreter python3 has a file"):
        script_of(tmp_path, body.format("python3"))


def test_no_text_ends_its_own_document(tmp_path: Path) -> None:
    script = script_of(tmp_path, '<post><file name="/f">ROCKS-END-1\nROCKS-END-2</file></post>')
    assert "rocks_content <<'ROCKS-END-3'\nROCKS-END-1\nROCKS-END-2\nROCKS-END-3\n" in script


# The digraph of hosts.


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
