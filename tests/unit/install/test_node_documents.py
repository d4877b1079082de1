"""Documents of nodes that need no database."""

import os
from pathlib import Path

from rocks.install.node_documents import DocumentOptions, node_document

VALUES = ("os", "arch", "hostname", "graph", "distribution", "membership", "root")


def test_a_node_gets_the_values_of_this_machine_unless_others_are_given(tmp_path: Path) -> None:
    base = tmp_path / "base"
    (base / "graphs" / "default").mkdir(parents=True)
    (base / "nodes").mkdir()
    (base / "graphs" / "default" / "small.xml").write_text('<graph><edge from="small" to="part"/></graph>')
    entities = "|".join(f"&{name};" for name in VALUES)
    (base / "nodes" / "small.xml").write_text(f"<kickstart><post>{entities}</post></kickstart>")
    (base / "nodes" / "part.xml").write_text("<kickstart/>")
    options = DocumentOptions(base)
    machine = os.uname()
    host = machine.nodename.partition(".")[0]
    found = node_document("small", {}, options)
    assert f"linux|{machine.machine}|{host}|default|rocks-dist|Frontend|small" in found
    found = node_document("small", {"arch": "other", "membership": "Compute"}, options)
    assert f"linux|other|{host}|default|rocks-dist|Compute|small" in found
