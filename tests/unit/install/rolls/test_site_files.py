"""The site's own node and graph files in a distribution."""

from pathlib import Path

from rocks.install.graph_files import Library
from rocks.install.rolls.distribution import BUILD, DistributionPlan, create_distribution


def test_a_distribution_has_the_nodes_and_graphs_of_the_site(tmp_path: Path) -> None:
    ours, nodes, graphs = (tmp_path / name for name in ("ours", "etc/site-nodes", "etc/site-graphs"))
    files = {
        ours / "nodes/a.xml": "<kickstart/>",
        ours / "graphs/default/ours.xml": "<graph/>",
        nodes / "extend-a.xml": "<kickstart/>",
        graphs / "default/site.xml": "<graph/>",
    }
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    plan = DistributionPlan("site", "x86_64", [], [ours], nodes, graphs)
    built = create_distribution(plan, tmp_path / "install").folder / BUILD

    library = Library(built)
    assert [Path(one.place).name for one in library.graph_files("default")] == ["ours.xml", "site.xml"]
    assert [Path(one.place).name for one in library.node_files("a")] == ["a.xml", "extend-a.xml"]
