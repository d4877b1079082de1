"""Nodes put together: missing ones, the site's own, and what the script makes of them."""

from pathlib import Path

import pytest

from rocks.core.errors import StateError, UserError
from rocks.install.graph.profile import Profile, ProfileRequest, create_profile, read_graph
from rocks.install.graph.shell import shell_script
from rocks.install.graph_files import Library
from tests.unit.install.graph.hosts import context


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
