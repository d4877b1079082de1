"""The drawing of a site: complete for few hosts, racks for many, within its frame, safe whatever names contain."""

import re

import pytest
from lxml import etree

from rocks.site.drawing import (
    LOCAL,
    NAMESPACE,
    Topology,
    TopologyHost,
    TopologyMachine,
    TopologyNetwork,
    topology_svg,
)

NETWORKS = (
    TopologyNetwork("private", "10.1.0.0/255.255.0.0"),
    TopologyNetwork("public", "203.0.113.0/255.255.255.0"),
)


def site(hosts: int, clusters: int, machines: int) -> Topology:
    """A site with that many VM containers, and that many machines for each cluster; disks are on a NAS or local."""
    containers = [f"vmc-{number // 40}-{number % 40}" for number in range(hosts)]
    return Topology(
        NETWORKS,
        (
            TopologyHost("head", "Frontend", 0, ("private", "public")),
            TopologyHost("nas-0-0", "NAS Appliance", 0, ("private",)),
            *(
                TopologyHost(name, "VM Container", int(name.split("-")[1]), ("private",))
                for name in containers
            ),
        ),
        tuple(
            TopologyMachine(
                f"vm-vc{cluster}-{number}",
                f"vc{cluster}",
                containers[(cluster + number) % hosts],
                ("nas-0-0:tank",) if number % 2 else (LOCAL,),
            )
            for cluster in range(clusters)
            for number in range(machines)
        ),
        {f"vc{cluster}": (cluster + 2,) for cluster in range(clusters)},
    )


def texts(document: str) -> list[str]:
    """All texts and tooltips."""
    root = etree.fromstring(document.encode())
    return [str(text) for text in root.itertext() if str(text).strip()]


def frame(document: str) -> tuple[float, float]:
    """Width and height; every rectangle and text must begin and end within them."""
    root = etree.fromstring(document.encode())
    assert root.tag == f"{{{NAMESPACE}}}svg"
    _, _, width, height = map(float, root.get("viewBox").split())
    for one in root.iter(f"{{{NAMESPACE}}}rect"):
        assert float(one.get("x")) >= 0 and float(one.get("x")) + float(one.get("width")) <= width
        assert float(one.get("y")) >= 0 and float(one.get("y")) + float(one.get("height")) <= height
    return width, height


def test_a_small_site_is_drawn_completely() -> None:
    document = topology_svg(site(3, 2, 3))
    width, height = frame(document)
    assert height < width
    found = " ".join(texts(document))
    names = [
        "private",
        "head",
        "NAS nas-0-0",
        "vmc-0-2",
        "vm-vc1-2",
        "tank: 1 of vc0",
        "cluster vc1",
        "VLAN 3",
    ]
    assert [name for name in names if name not in found] == []


def test_a_large_site_is_drawn_by_racks() -> None:
    document = topology_svg(site(200, 30, 50))
    _, height = frame(document)
    assert height < 4000
    found = texts(document)
    assert [text for text in found if text.startswith("rack ")] == [f"rack {n}" for n in (0, 0, 1, 2, 3, 4)]
    assert found.count("40 × VM Container") == 5 and "vmc-4-0 … vmc-4-39" in found
    assert "vm-vc1-2" not in " ".join(found)


def test_racks_are_drawn_on_request_and_hosts_too() -> None:
    assert "rack 0" in texts(topology_svg(site(3, 1, 1), by_rack=True))
    assert "vmc-4-39" in texts(topology_svg(site(200, 1, 1), by_rack=False))


def test_an_empty_site_is_a_document() -> None:
    document = topology_svg(Topology((), (), (), {}))
    frame(document)
    assert "<rect" not in document and "<text" not in document


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "a]]>b&c\"d'", "x\x00\x1b[2J\ud800\n", "long" * 200]
)
def test_any_name_is_text(name: str) -> None:
    """No element, no control character and no text that is wider than its box."""
    document = topology_svg(
        Topology(
            (TopologyNetwork(name, name),),
            (TopologyHost(name, name, 0, (name,)),),
            (TopologyMachine(name, name, name, (name,)), TopologyMachine("m", "", "", ())),
            {name: (2,)},
        )
    )
    frame(document)
    tags = {etree.QName(one).localname for one in etree.fromstring(document.encode()).iter()}
    assert tags <= {"svg", "style", "g", "rect", "text", "title", "circle"}
    assert not re.search(r"[\x00-\x08\x0b-\x1f]", document)
