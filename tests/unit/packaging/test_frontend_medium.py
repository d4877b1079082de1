"""What is on the medium from which a machine becomes a frontend."""

import re

from lab.namespace import CHECKOUT
from rocks.install.graph.edges import read_graph

_ANOTHER_PART = {"kvm-base", "img-storage-vm"}
"""Nodes of a frontend that runs virtual machines itself."""

_PACKAGE = re.compile(r"<package(?! cond=\"packaging == 'rpm'\")[^>]*>([^<]+)</package>")


def _on_the_medium() -> set[str]:
    text = (CHECKOUT / "roll/frontend/build").read_text("utf-8")
    found = re.search(r"^wanted='([^']+)'$", text, re.MULTILINE)
    assert found
    return set(found[1].split())


def test_it_has_all_that_the_frontend_s_profile_installs() -> None:
    """With each attribute of a frontend: no network is there for it."""
    medium = _on_the_medium()
    files = (CHECKOUT / "graphs/default").glob("*.xml")
    edges = read_graph((str(path), path.read_bytes()) for path in files).edges
    reached: set[str] = set()
    waiting = {"server"}
    while waiting:
        reached |= waiting
        waiting = {edge.child for edge in edges if edge.parent in reached} - reached - _ANOTHER_PART
    assert {"base", "boot-service", "firewall", "img-storage", "name-service", "nucleus"} <= reached
    for node in reached:
        named = _PACKAGE.findall((CHECKOUT / f"nodes/{node}.xml").read_text("utf-8"))
        assert set(named) - medium == set(), node


def test_it_has_what_the_frontend_s_package_recommends() -> None:
    """Commands start these programs. Not sudo, which is a site's choice."""
    control = (
        (CHECKOUT / "packaging/debian/control").read_text("utf-8").partition("\nPackage: rocks-cli\n")[2]
    )
    found = re.search(r"^Recommends: (.*(?:\n .*)*)", control, re.MULTILINE)
    assert found
    recommended = {name.strip() for name in found[1].split(",")} - {"sudo"}
    assert "xorriso" in recommended and recommended - _on_the_medium() == set()
    assert {"rocks-cli", "rocks-nucleus"} <= _on_the_medium()
