"""The roll's own graph and node files: well-formed, of the language, and all of use."""

from pathlib import Path

import pytest
from lxml import etree

from rocks.core.process import run
from rocks.install.graph.document import read_condition
from rocks.install.graph.profile import read_graph
from rocks.install.graph.tags import read_node
from rocks.install.graph_files import Library
from tests.unit.docs.pages import CHECKOUT
from tests.unit.install.graph.hosts import context

NODES = sorted((CHECKOUT / "nodes").glob("*.xml"))
GRAPHS = sorted((CHECKOUT / "graphs").glob("*/*.xml"))
_ROOTS = {"server", "client", "compute", "login", "nas"}
_ENTITIES = dict.fromkeys(
    (
        *("imgstorage_configuration", "storage_network", "img_zpools", "vm_container_zpool"),
        *(
            "vm_container_zpool_layout",
            "img_zpool_layout",
            "broker_configuration",
            "broker_advanced_configuration",
            "broker_plugins",
            "site_authority",
            "distribution",
            "distribution_url",
            "distribution_server",
            "distribution_problem",
            "distribution_place",
            "distribution_key",
            "firewall_rules",
            "huge_pages",
            "firewall_unit",
            "network_service",
            "network_script",
            "slurm_server",
            "install_network",
            "install_drive",
            "Kickstart_PublicNTPHost",
            "install_bootloader",
            *(f"install_part_{number}" for number in range(1, 9)),
        ),
    ),
    "word",
)


@pytest.mark.parametrize("path", [*NODES, *GRAPHS], ids=lambda path: path.name)
def test_every_condition_can_be_read_and_every_file_says_what_it_is_for(path: Path) -> None:
    root = etree.parse(str(path), etree.XMLParser(resolve_entities=False, recover=True)).getroot()
    for element in root.iter(etree.Element):
        if element.get("cond"):
            read_condition(str(element.get("cond")))
    described = root.find("description")
    assert described is not None and (described.text or "").strip()


@pytest.mark.parametrize("path", NODES, ids=lambda path: path.name)
@pytest.mark.parametrize("packaging", ["deb", "rpm"])
def test_every_node_file_is_of_the_language(path: Path, packaging: str) -> None:
    attributes = {"img_sync": "yes", "packaging": packaging, **_ENTITIES}
    node = read_node(path.stem, str(path), path.read_bytes(), context(**attributes))
    assert node.name == path.stem


def test_every_node_is_reached_and_every_name_of_the_graph_has_its_file() -> None:
    graph = read_graph(Library().graph_files("default"))
    names = {edge.child for edge in graph.edges} | {edge.parent for edge in graph.edges}
    ordered = {name for order in graph.orders for name in (order.head, order.tail)}

    assert names == {path.stem for path in NODES}
    assert names - {edge.child for edge in graph.edges} <= _ROOTS
    assert ordered <= names


def test_multipath_excludes_disks_of_images_by_more_than_a_property() -> None:
    """Its built-in exceptions for ID_WWN and SCSI_IDENT_… come before an excluded property, but not before a device."""
    node = etree.parse(str(CHECKOUT / "nodes" / "img-storage-scans.xml")).getroot()
    (file,) = (one for one in node.iter("file") if "/multipath/" in one.get("name", ""))
    section, _, excluded = " ".join((file.text or "").split()).partition(" { ")

    assert section == "blacklist"
    assert 'device { vendor "^LIO-ORG" product ".*" }' in excluded


@pytest.mark.parametrize(
    ("is_loaded", "installed", "expected"),
    [
        (False, (), "rocks-zfs-modules-6.1.0 rocks-zfs-modules\n"),
        (True, ("rocks-zfs-modules-6.1.0",), "rocks-zfs-modules-6.1.0 rocks-zfs-modules\n"),
        (True, (), ""),
    ],
    ids=["none", "ours", "others"],
)
def test_modules_of_zfs_follow_the_kernel_of_later_upgrades(
    tmp_path: Path, is_loaded: bool, installed: tuple[str, ...], expected: str
) -> None:
    """By the package that needs those of the newest kernel; modules from elsewhere stay without ours."""
    node = etree.parse(str(CHECKOUT / "nodes" / "zfs.xml")).getroot()
    (section,) = (one.text or "" for one in node.iter("post") if "distribution_url" in one.get("cond", ""))
    stubs = f"""uname() {{ echo 6.1.0; }}
modprobe() {{ false; }}
dpkg-query() {{ [[ " {" ".join(installed)} " == *" ${{@: -1}} "* ]]; }}
rocks_packages_deb() {{ echo "$*"; }}
"""
    if is_loaded:
        (tmp_path / "zfs").mkdir()
    done = run(
        ["bash", "-euc", stubs + section.replace("/sys/module/zfs", str(tmp_path / "zfs"))],
        deadline_seconds=10,
    )
    assert (done.exit_status, done.text) == (0, expected), done.error_text
